// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "cli/verbs.h"
#include "evaluate/speed.h"
#include "pipeline/inspect.h"
#include "report/number_text.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string model;
  SpeedOptions speed;
};

void bench(Options& options, Session& session) {
  const Checkpoint checkpoint = Checkpoint::open(options.model);
  const KernelOptions kernels = session.kernels();
  Decoder decoder(checkpoint, {kernels, session.kv(), session.progress()}, session.pool());
  options.speed.progress = session.progress();
  const std::vector<Speed> speeds = measure_speed(decoder, options.speed);
  if (session.json()) {
    Json json = {{"model", options.model},
                 {"parameters", describe_model(checkpoint).parameters},
                 {"bytes", checkpoint.file_bytes()},
                 {"resident_bytes", decoder.resident_bytes()},
                 {"threads", session.pool().num_threads()},
                 {"isa", isa_name(kernels.isa)},
                 {"results", Json::array()}};
    for (const Speed& speed : speeds) json["results"].push_back(to_json(speed));
    return session.print_json(json);
  }
  Table table({{"model"}, {"size", Align::right}, {"in memory", Align::right}, {"threads", Align::right}, {"test"}, {"tok/s", Align::right}});
  for (const Speed& speed : speeds)
    table.add({std::filesystem::path(options.model).filename().string(), bytes_text(checkpoint.file_bytes()), bytes_text(decoder.resident_bytes()),
               std::to_string(session.pool().num_threads()), speed.test, fmt::format("{} ± {}", speed_text(speed.tokens_per_second), speed_text(speed.spread))});
  session.print(table.text(session.style()));
}

}  // namespace

void add_bench(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  options->speed.generated_tokens = 32;
  CLI::App* const verb = app.add_subcommand("bench", "Measure how fast a model runs");
  verb->footer("Examples:\n  nibble bench model.gguf\n  nibble bench model.gguf -p 512 -n 128 -t 4 -r 5 --json\n\n"
               "ppN reads N tokens in one go, tgN makes N tokens one at a time; medians and standard deviations, as llama-bench counts them.");
  verb->add_option("model", options->model, "Hugging Face directory or .gguf")->required();
  verb->add_option("-p,--prompt", options->speed.prompt_tokens, "Prompt tokens (0: no such test)")->capture_default_str();
  verb->add_option("-n,--generate", options->speed.generated_tokens, "Generated tokens (0: no such test)")->capture_default_str();
  verb->add_option("-r,--repetitions", options->speed.repetitions, "Repetitions")->capture_default_str();
  session.add_json(*verb);
  session.add_engine(*verb);
  verb->callback([options, &session] { bench(*options, session); });
}

}  // namespace nibble::cli
