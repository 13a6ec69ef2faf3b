// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <chrono>
#include <optional>

#include "base/elapsed.h"
#include "cli/bench_energy.h"
#include "cli/bench_serve.h"
#include "cli/net_command.h"
#include "cli/option_checks.h"
#include "cli/verbs.h"
#include "evaluate/metrics.h"
#include "evaluate/speed.h"
#include "kernels/limits.h"
#include "nibble/error.h"
#include "pipeline/export/model_card.h"
#include "pipeline/tell/inspect.h"
#include "pipeline/tell/token_work.h"
#include "report/number_text.h"
#include "train/training_speed.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string model;
  NetArguments net;
  double seconds = 1;  // of a net
  SpeedOptions speed;
  bool limits = false, energy = false;
  std::size_t trained_tokens = 0;
  ServeBench serve;
};

// Short prompts where nothing is said: those of many clients at once.
void bench_server(const CLI::App& verb, Options& options, Session& session) {
  for (const char* const option :
       {"--batch", "--depth", "--repetitions", "--train", "--limits", "--seconds", "--energy"})
    refuse_without_effect(verb, option, false, "with --serve");
  if (verb.count("--prompt") > 0) options.serve.load.prompt_tokens = options.speed.prompt_tokens;
  if (verb.count("--generate") > 0) options.serve.load.new_tokens = options.speed.generated_tokens;
  bench_serve(options.model, options.serve, session);
}

// What the machine can do, and what of it a test used.
struct Limits {
  double read_stream = 0, int8_peak = 0, f32_peak = 0, bf16_peak = 0;  // per second
};

// Of a prompt: the head is needed once.
double operations(const TokenWork& work, std::size_t tokens) {
  return 2 * (static_cast<double>(work.linear_parameters) * static_cast<double>(tokens) +
              static_cast<double>(work.head_parameters));
}

Limits measure_limits(Machine& machine) {
  return {measure_read_stream(machine), measure_int8_peak(machine), measure_f32_peak(machine),
          measure_bf16_peak(machine)};
}

constexpr std::size_t kTrainedLength = 512;  // of a sequence

SequenceBatch training_batch(std::size_t tokens) {
  const std::size_t length = std::min(tokens, kTrainedLength);
  return {tokens / length, length};
}

// A step there and back, without the optimizer's.
Speed training_speed(const SourceModel& model, const Options& options, Session& session) {
  const SequenceBatch batch = training_batch(options.trained_tokens);
  Machine& machine = session.machine();
  Speed speed;
  speed.test = fmt::format("train{}", batch.tokens());
  speed.tokens = batch.tokens();
  speed.sequences = batch.sequences;
  for (const double seconds : measure_training(model,
                                               {.batch = batch,
                                                .repetitions = options.speed.repetitions,
                                                .arithmetic = fastest_products(machine.isa),
                                                .progress = session.progress()},
                                               machine))
    speed.samples.push_back(static_cast<double>(batch.tokens()) / seconds);
  summarise_samples(speed);
  return speed;
}

bool trains(const Speed& speed) { return speed.test.starts_with("train"); }
bool reads_prompt(const Speed& speed) { return speed.test.starts_with("pp"); }

std::string_view name_of(Arithmetic arithmetic) {
  return arithmetic == Arithmetic::int8 ? "int8" : arithmetic == Arithmetic::bf16 ? "bf16" : "f32";
}

double peak_of(const Limits& limits, Arithmetic arithmetic) {
  return arithmetic == Arithmetic::int8   ? limits.int8_peak
         : arithmetic == Arithmetic::bf16 ? limits.bf16_peak
                                          : limits.f32_peak;
}

// Of training every weight's product forwards, and the two that gradients take; what is computed anew on the way back
// does not count.
double training_operations(const TokenWork& work) {
  return 6 * static_cast<double>(work.linear_parameters + work.head_parameters);
}

Arithmetic arithmetic_of(const Speed& speed, Arithmetic running, Isa isa) {
  if (!trains(speed)) return running;
  return fastest_products(isa) == ProductArithmetic::bf16 ? Arithmetic::bf16 : Arithmetic::f32;
}

// Prefill and training are judged by arithmetic, of the kind that most weights are multiplied in; decode by what must
// be read.
double share_of_limit(const Speed& speed, const TokenWork& work, const Limits& limits, Arithmetic arithmetic) {
  if (trains(speed)) return training_operations(work) * speed.tokens_per_second / peak_of(limits, arithmetic);
  const double steps =
      speed.tokens_per_second / static_cast<double>(speed.sequences);  // weights are read once for all sequences
  if (!reads_prompt(speed)) return steps * static_cast<double>(work.bytes) / limits.read_stream;
  return operations(work, speed.tokens) * speed.tokens_per_second / static_cast<double>(speed.tokens) /
         peak_of(limits, arithmetic);
}

Json limits_json(const Limits& limits) {
  return {{"read_bytes_per_second", limits.read_stream},
          {"int8_operations_per_second", limits.int8_peak},
          {"f32_operations_per_second", limits.f32_peak},
          {"bf16_operations_per_second", limits.bf16_peak}};
}

// Seconds for one token, the first.
double first_token(Decoder& decoder) {
  KvCache cache = decoder.new_cache(1);
  std::vector<float> logits(decoder.config().vocab_size);
  const std::int32_t token = 0;
  const auto start = std::chrono::steady_clock::now();
  decoder.forward(cache, {&token, 1}, LogitsFor::last, logits);
  return seconds_since(start);
}

void bench(const CLI::App& verb, Options& options, Session& session) {
  if (options.serve.is_asked) return bench_server(verb, options, session);
  for (const char* const option : {"--clients", "--rate", "--requests", "--most-seconds", "--parallel", "--url"})
    refuse_without_effect(verb, option, false, "without --serve");
  if (options.model.empty()) throw Error(ErrorKind::invalid_argument, "the model is missing");
  if (is_net(options.model)) {
    for (const char* const option :
         {"--prompt", "--generate", "--batch", "--depth", "--repetitions", "--train", "--energy"})
      refuse_without_effect(verb, option, false, "of nets");
    return bench_net(options.model, net_options(options.net),
                     {.least_seconds = options.seconds, .measures_limits = options.limits}, session);
  }
  refuse_net_options(verb);
  refuse_without_effect(verb, "--seconds", false, "of models other than nets (.onnx, .tflite)");
  refuse_without_effect(verb, "--batch", options.speed.generated_tokens > 0, "where no tokens are generated (-n 0)");
  if (options.speed.prompt_tokens == 0 && options.speed.generated_tokens == 0 && options.trained_tokens == 0)
    throw Error(ErrorKind::invalid_argument, "nothing is measured with -p 0 and -n 0; give one of the two");
  const KernelOptions kernels = session.running_kernels();
  session.machine();
  const auto start = std::chrono::steady_clock::now();
  const SourceModel checkpoint = SourceModel::open(options.model);
  Decoder decoder(checkpoint, {kernels, session.kv(), session.progress()}, session.machine());
  const double load_seconds = seconds_since(start);
  const double first_token_seconds = load_seconds + first_token(decoder);
  session.note_reading(checkpoint);
  session.note_unused_activations(options.model, checkpoint);
  options.speed.progress = session.progress();
  std::optional<BenchEnergy> energy;
  if (options.energy) energy.emplace(session);
  if (energy) energy->prepare(options.speed);
  std::vector<Speed> speeds;
  if (options.speed.prompt_tokens != 0 || options.speed.generated_tokens != 0)
    speeds = measure_speed(decoder, options.speed);
  if (options.trained_tokens != 0) speeds.push_back(training_speed(checkpoint, options, session));
  std::optional<Limits> limits;
  if (options.limits) limits = measure_limits(session.machine());
  const TokenWork work = work_of_token(checkpoint);
  const Arithmetic arithmetic = decoder.arithmetic();
  if (session.json()) {
    Json json = {{"model", options.model},
                 {"parameters", describe_weights(checkpoint).parameters},
                 {"bytes", checkpoint.file_bytes()},
                 {"resident_bytes", decoder.resident_bytes()},
                 {"bytes_per_token", work.bytes},
                 {"threads", session.pool().num_threads()},
                 {"isa", isa_name(session.machine().isa)},
                 {"kv", kv_type_name(decoder.kv_type())},
                 {"load_seconds", load_seconds},
                 {"first_token_seconds", first_token_seconds},
                 {"arithmetic", name_of(arithmetic)},
                 {"results", Json::array()}};
    for (const Speed& speed : speeds) {
      json["results"].push_back(to_json(speed));
      if (energy) energy->add_to(json["results"].back(), speed);
      const Arithmetic used = arithmetic_of(speed, arithmetic, session.machine().isa);
      if (trains(speed)) json["results"].back()["arithmetic"] = name_of(used);
      if (limits) json["results"].back()["share_of_limit"] = share_of_limit(speed, work, *limits, used);
    }
    if (limits) json["limits"] = limits_json(*limits);
    if (energy) energy->add_to(json);
    if (energy) json["verdict"] = verdict_of_card(checkpoint);
    return session.print_json(json);
  }
  const bool is_measured = energy && energy->is_measured();
  Table table({{"model"},
               {"size", Align::right},
               {"in memory", Align::right},
               {"threads", Align::right},
               {"test"},
               {"tok/s", Align::right},
               {limits ? "of the limit" : "", Align::right},
               {is_measured ? "per token" : "", Align::right},
               {is_measured ? "above idle" : "", Align::right}});
  for (const Speed& speed : speeds) {
    const Arithmetic used = arithmetic_of(speed, arithmetic, session.machine().isa);
    const std::vector<std::string> joules = is_measured ? energy->cells(speed) : std::vector<std::string>(2);
    table.add({std::filesystem::path(options.model).filename().string(), bytes_text(checkpoint.file_bytes()),
               bytes_text(decoder.resident_bytes()), std::to_string(session.pool().num_threads()), speed.test,
               fmt::format("{} ± {}", speed_text(speed.tokens_per_second), speed_text(speed.spread)),
               limits ? fmt::format("{} of {}", percent_text(share_of_limit(speed, work, *limits, used)),
                                    reads_prompt(speed) || trains(speed) ? name_of(used) : "reading")
                      : "",
               joules[0], joules[1]});
  }
  std::string text = table.text(session.style());
  text += fmt::format("\nloaded in {:.2f} s, first token after {:.2f} s\n", load_seconds, first_token_seconds);
  if (limits)
    text += fmt::format("machine: reads {}/s; {:.2f} TOPS int8, {:.3f} TFLOPS f32, {:.2f} TFLOPS bf16\n",
                        bytes_text(static_cast<std::uint64_t>(limits->read_stream)), limits->int8_peak * 1e-12,
                        limits->f32_peak * 1e-12, limits->bf16_peak * 1e-12);
  if (is_measured) text += energy->footnote();
  if (const std::string loss = figure_of_verdict(verdict_of_card(checkpoint), Metric::kl_mean); energy && !loss.empty())
    text += fmt::format("lost by the model's card: {} {}\n", describe(Metric::kl_mean).title, loss);
  session.print(text);
}

}  // namespace

void add_bench(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  options->speed.generated_tokens = 32;
  CLI::App* const verb = app.add_subcommand("bench", "Measure how fast a model runs");
  verb->footer(
      "Examples:\n  nibble bench model.gguf\n  nibble bench model.gguf -p 512 -n 128 -t 4 -r 5 --json\n  nibble bench "
      "model.gguf -d 8192\n  nibble bench mnist.onnx -t 1 --limits\n"
      "  nibble bench model.gguf --serve --clients 8\n  nibble bench --serve --url http://127.0.0.1:8080 --rate 4\n\n"
      "ppN reads N tokens in one go, tgN makes N tokens one at a time, tgNxB makes N for each of B sequences at once; "
      "medians and standard "
      "deviations, as llama-bench counts them. trainN is a step of training on N tokens, forwards and backwards, with "
      "all weights in f32. Of a net (.onnx, .tflite) one run after the other is measured, on random inputs.");
  verb->add_option("model", options->model, "Hugging Face directory or .gguf; or a net (.onnx, .tflite)");
  verb->add_option("-p,--prompt", options->speed.prompt_tokens, "Prompt tokens (0: no such test)")
      ->check(count_within(0, kMostTokens))
      ->capture_default_str();
  verb->add_option("-n,--generate", options->speed.generated_tokens, "Generated tokens (0: no such test)")
      ->check(count_within(0, kMostTokens))
      ->capture_default_str();
  verb->add_option("-b,--batch", options->speed.sequences,
                   "Sequences that generate side by side, tested after one alone")
      ->check(count_within(1, 1024))
      ->capture_default_str();
  verb->add_option("-d,--depth", options->speed.depth, "Tokens in the cache before each test")
      ->check(count_within(0, kMostTokens))
      ->capture_default_str();
  verb->add_option("-r,--repetitions", options->speed.repetitions, "Repetitions")
      ->check(count_within(1, 10000))
      ->capture_default_str();
  verb->add_option("--train", options->trained_tokens, "Tokens of a step of training, in sequences of 512")
      ->check(count_within(1, kMostTokens));
  verb->add_flag("--limits", options->limits, "Measure what the machine can do, too, and show the share of it");
  verb->add_flag("--energy", options->energy,
                 "Measure the joules of a token, too, where the machine tells them (RAPL, hwmon, a battery)");
  verb->add_option("--seconds", options->seconds, "Of a net: for how long it is run, at least 10 times")
      ->check(number_within(0, 3600))
      ->capture_default_str();
  add_serve_bench(*verb, options->serve);
  add_net_options(*verb, options->net);
  session.add_json(*verb);
  session.add_engine(*verb);
  verb->callback([options, verb, &session] { bench(*verb, *options, session); });
}

}  // namespace nibble::cli
