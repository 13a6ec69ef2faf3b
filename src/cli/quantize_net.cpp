// SPDX-License-Identifier: Apache-2.0
#include "cli/quantize_net.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "base/letter_case.h"
#include "cli/option_checks.h"
#include "cli/places.h"
#include "net/quantize/net_method.h"
#include "nibble/error.h"
#include "pipeline/net/quantize_net_file.h"
#include "report/net_quantize_report.h"

namespace nibble::cli {
namespace {

constexpr std::array kOfNetsAlone = {"--dynamic",  "--shape",  "--constant", "--generate",
                                     "--max-drop", "--metric", "--equalize", "--correct-biases"};
constexpr std::array kOfNets = {"model",      "--method",   "--format",         "--output",   "--samples",
                                "--generate", "--max-drop", "--metric",         "--equalize", "--correct-biases",
                                "--exclude",  "--for",      "--activation-fit", "--seed",     "--shape",
                                "--constant", "--dry-run",  "--json",           "--threads",  "--dynamic",
                                "--help",     "--to",       "--steps",          "--batch",    "--rate"};

[[noreturn]] void refuse(const std::string& message) { throw Error(ErrorKind::invalid_argument, message); }

// on, off, or nothing where the better of both is taken.
std::optional<bool> choice_of(const std::string& word, const char* option) {
  if (word == "auto") return std::nullopt;
  if (word != "on" && word != "off") refuse(fmt::format("{} {}: should be auto, on or off", option, word));
  return word == "on";
}

void read_format(const std::string& format, NetQuantizeOptions& options) {
  const std::string name = lower_case(format);
  options.weight_bits = name.starts_with("int4") ? 4 : 8;
  if (name == "int8" || name == "int8:row" || name == "int4" || name == "int4:row") return;
  if (name != "int8:tensor")
    refuse(fmt::format(
        "nets are quantized as int8 (weights by channel, values between layers by tensor), as int8:tensor (weights "
        "by tensor, too) or as int4 (weights by channel, alone): {}",
        format));
  options.weight_grain = WeightGrain::tensor;
}

// Of a method that learns.
void read_learning(const CLI::App& verb, const LearningOptions& given, AdaptiveRoundingOptions& learning, bool learns) {
  for (const char* const option : {"--steps", "--batch", "--rate"})
    refuse_without_effect(verb, option, learns, "of nets without --method adaround");
  learning.steps = given.steps.value_or(learning.steps);
  learning.batch = given.batch.value_or(learning.batch);
  learning.rate = given.rate.value_or(learning.rate);
}

NetRuntime runtime_of(const std::string& name) {
  if (name.empty() || name == "ort" || name == "openvino") return NetRuntime::any;
  if (name == "tensorrt") return NetRuntime::tensorrt;
  refuse(fmt::format("quantized nets are written for ort, openvino and tensorrt: {}", name));
}

NetMetric metric_of(const std::string& name) {
  if (name == "sqnr") return NetMetric::sqnr;
  if (name == "agreement") return NetMetric::agreement;
  refuse(fmt::format("outputs are compared by sqnr or agreement: {}", name));
}

}  // namespace

void add_net_quantize_options(CLI::App& verb, NetQuantizeArguments& arguments) {
  verb.add_option("--samples", arguments.samples,
                  "Windows of calibration text (default 128); 0: all. Of a net: what its inputs look like, FILE.npy, "
                  "NAME=FILE.npy, FILE.npz, a directory of these or of ONNX's test data; may be given more than once")
      ->allow_extra_args(false);
  add_net_shape_options(verb, arguments.net);
  verb.add_flag("--generate", arguments.generates,
                "Of a net without samples: random numbers in their place, ranges by what its norms have stored");
  verb.add_flag("--dynamic", arguments.is_dynamic,
                "Of a net, for ONNX: weights in int8, and what matrices read rounded when the net runs, by its range "
                "then; samples only judge. Convolutions compute in float");
  verb.add_option("--max-drop", arguments.max_drop,
                  "Of a net: how far its outputs may go from those in f32, in percent; roundings that cost most are "
                  "left out until that holds (default 0.3; 0.05 of nets with LSTM or GRU, whose noise adds up; 1 of "
                  "agreement; of int4 nothing is left out unless this is given)")
      ->check(number_within(0, 100));
  verb.add_option(
          "--metric", arguments.metric,
          "Of --max-drop: sqnr (noise, in percent of the power of the output that suffers most), agreement "
          "(decisions of the first output that change, and that may be expected to where samples were not seen)")
      ->capture_default_str();
  verb.add_option("--equalize", arguments.equalize,
                  "Of a net: scale channels of consecutive layers against each other: auto (where it helps), on, off")
      ->capture_default_str();
  verb.add_option("--correct-biases", arguments.correct_biases,
                  "Of a net: let biases make up for the mean of what rounding changes: auto (where it helps), on, off")
      ->capture_default_str();
}

std::optional<std::uint64_t> samples_of_models(const CLI::App& verb, const NetQuantizeArguments& arguments) {
  for (const char* const option : kOfNetsAlone)
    refuse_without_effect(verb, option, false, "of models other than nets (.onnx, .tflite)");
  if (arguments.samples.empty()) return std::nullopt;
  std::uint64_t count = 0;
  const std::string& text = arguments.samples.back();
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), count);
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint32_t>::max();
  if (code != std::errc{} || end != text.data() + text.size() || count > kMost)
    refuse(fmt::format("--samples: a whole number from 0 to {} is asked for, not '{}'", kMost, text));
  return count;
}

void quantize_net_command(const CLI::App& verb, const NetQuantizeArguments& arguments,
                          const SharedQuantizeArguments& shared, Session& session) {
  for (const CLI::Option* const option : verb.get_options())
    if (const std::string name = option->get_name(); std::ranges::find(kOfNets, name) == kOfNets.end())
      refuse_without_effect(verb, name, false, "of nets");
  if (shared.format.empty()) refuse("name a format: -f int8, or -f int4 of weights alone");
  if (shared.output.empty() && shared.writes) refuse("no output is named; add -o OUT.onnx, OUT.tflite or OUT.c");
  if (arguments.samples.empty() != arguments.generates)
    refuse(arguments.generates ? "--samples and --generate exclude each other; leave out one of the two"
                               : "what it costs, and ranges of values, are found on samples: give --samples DATA, or "
                                 "--generate where there are none");
  Places places;
  places.reads("the net", shared.model);
  for (const std::string& sample : arguments.samples) {
    const std::size_t sign = sample.find('=');
    const bool is_named = sign != std::string::npos && !std::filesystem::exists(sample);
    places.reads("--samples", is_named ? sample.substr(sign + 1) : sample);
  }
  Places outputs = places;
  if (shared.writes) places.writes_file("--output", shared.output);
  places.judge();
  NetFileRequest request{.samples = arguments.samples,
                         .outputs = arrange_net_outputs(shared.containers, shared.writes ? shared.output : "")};
  for (const NetOutput& output : request.outputs)
    for (const std::filesystem::path& file : output.files()) outputs.writes_file("--output", file);
  outputs.judge();
  NetQuantizeOptions& options = request.quantize;
  read_format(shared.format, options);
  options.method = verb.count("--method") > 0 ? shared.method : default_net_method(options.weight_bits);
  const bool learns = find_net_method(options.method, options.weight_bits).learns;
  read_learning(verb, shared.learning, options.learning, learns);
  refuse_without_effect(verb, "--seed", arguments.generates || learns, "without --generate or --method adaround");
  if (verb.count("--seed") > 0) options.learning.seed = request.seed = shared.seed;
  options.runtime = runtime_of(shared.runtime);
  options.is_dynamic = arguments.is_dynamic;
  options.metric = metric_of(arguments.metric);
  options.max_drop = arguments.max_drop;
  options.equalizes = choice_of(arguments.equalize, "--equalize");
  options.corrects_biases = choice_of(arguments.correct_biases, "--correct-biases");
  options.exclude = shared.exclude;
  if (!shared.activation_fit.empty()) options.fit = find_fit(shared.activation_fit);
  request.quantize.progress = session.progress();
  const NetFileSummary summary =
      quantize_net_file(shared.model, net_options(arguments.net), request, session.machine());
  session.end_progress();
  for (const std::string& note : net_notes(summary)) session.note(note);
  if (session.json()) return session.print_json(to_json(summary));
  session.print(net_layers_table(summary).text(session.style()) + "\n" + net_summary_text(summary));
}

}  // namespace nibble::cli
