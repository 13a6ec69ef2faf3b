// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <system_error>

#include "base/elapsed.h"
#include "cli/option_checks.h"
#include "cli/places.h"
#include "cli/training_options.h"
#include "cli/verbs.h"
#include "nibble/error.h"
#include "pipeline/export/container.h"
#include "pipeline/tell/source_notes.h"
#include "pipeline/train/distill_model.h"
#include "report/number_text.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string model, original, output, arithmetic = "auto", fall = "cosine";
  std::vector<std::string> texts, validation;
  bool keeps_norms = false, trains_codes = false;
  double code_rate = 0;
  DistillRequest request;
};

Json to_json(const DistillSummary& summary, double seconds) {
  Json judgements = Json::array();
  for (const LossPoint& one : summary.judgements) judgements.push_back({{"step", one.step}, {"divergence", one.loss}});
  return {{"output", summary.output.string()},
          {"bytes", summary.bytes},
          {"tokens", summary.tokens},
          {"matrices", summary.matrices},
          {"numbers", summary.numbers},
          {"left_alone", summary.left_alone},
          {"steps", summary.steps},
          {"resumed_at", summary.resumed_at},
          {"stopped_early", summary.stopped_early},
          {"judgements", std::move(judgements)},
          {"kept_step", summary.kept ? Json(summary.kept->step) : Json()},
          {"seconds", seconds}};
}

std::string text_of(const DistillSummary& summary, const DistillRequest& request, double seconds) {
  const std::uint64_t read =
      (summary.steps - summary.resumed_at) * request.settings.batch.size * request.settings.batch.length;
  const DistillationSettings& settings = request.settings;
  const bool is_as_it_was = summary.kept && summary.kept->step == 0;
  const std::string beside = settings.trains_vectors && summary.trains_embedding ? ", of norms and of the embedding"
                             : settings.trains_vectors                           ? " and of norms"
                             : summary.trains_embedding                          ? " and of the embedding"
                                                                                 : "";
  std::string text =
      fmt::format("{}: {}; {} numbers of {} matrices{} were trained, {}\n", summary.output.string(),
                  bytes_text(summary.bytes), count_text(summary.numbers), summary.matrices, beside,
                  is_as_it_was                        ? "and nothing of it is kept: the numbers are as they were"
                  : summary.coded == 0                ? "all codes stayed"
                  : summary.coded == summary.matrices ? "all codes with them"
                                                      : fmt::format("the codes of {} of them, too", summary.coded));
  text += fmt::format("{} steps{}, {} tokens in {}\n", summary.steps, summary.stopped_early ? ", stopped early" : "",
                      count_text(read), duration_text(seconds));
  if (!summary.kept) return text;
  const double before = summary.judgements.front().loss, after = summary.kept->loss;
  if (is_as_it_was)
    return text + fmt::format(
                      "held-out divergence {:.5f} at the beginning, and no step had less; lower the rate{}, or "
                      "give more text or steps\n",
                      before, summary.coded == 0 ? "" : " of codes (--code-rate)");
  return text + fmt::format(
                    "held-out divergence {:.5f} at the beginning, {:.5f} ({:+.1f} %) at step {}, which was "
                    "written\n",
                    before, after, before > 0 ? 100 * (after / before - 1) : 0, summary.kept->step);
}

bool is_same_place(const std::string& a, const std::string& b) {
  std::error_code error;
  return std::filesystem::equivalent(a, b, error) && !error;
}

void distill(const CLI::App& verb, Options& options, Session& session) {
  DistillRequest& request = options.request;
  DistillationSettings& settings = request.settings;
  Places places;
  places.reads("the model", options.model);
  places.reads("--original", options.original);
  places.reads("--text", options.texts);
  places.reads("--validation", options.validation);
  const bool is_file =
      (request.container.empty() ? container_of(options.output) : find_container(request.container)).is_file();
  is_file ? places.writes_file("--output", options.output) : places.writes_directory("--output", options.output);
  places.judge();
  if (is_same_place(options.model, options.original))
    throw Error(ErrorKind::invalid_argument,
                fmt::format("a model has nothing to learn from itself; --original is what it was made of: {}",
                            options.original));
  for (const std::string& judging : options.validation)
    for (const std::string& learnt : options.texts)
      if (is_same_place(judging, learnt))
        throw Error(ErrorKind::invalid_argument,
                    fmt::format("--validation judges by text that is not learnt from, and --text has it, too; leave it "
                                "out there, or --validation, and a part of --text is held out: {}",
                                judging));
  refuse_without_effect(verb, "--held-out", options.validation.empty(), "with --validation");
  refuse_without_effect(verb, "--patience", settings.validate_every > 0, "with --validate-every 0");
  settings.fall = *find_rate_fall(options.fall);
  settings.arithmetic = arithmetic_of(options.arithmetic, session.machine().isa);
  settings.trains_vectors = !options.keeps_norms;
  settings.code_rate = !options.trains_codes           ? 0
                       : verb.count("--code-rate") > 0 ? options.code_rate
                                                       : usual_code_rate(settings.steps);
  refuse_without_effect(verb, "--code-rate", options.trains_codes, "without --codes");
  request.output = options.output;
  request.text = joined_texts(options.texts, request.documents.separator, session);
  request.validation = joined_texts(options.validation, request.documents.separator, session);
  if (!request.validation.empty() && request.text.find(request.validation) != std::string::npos)
    session.note("note: the text of --validation is a part of --text, so what is judged by was learnt from");
  request.progress = session.progress();
  request.note = [&](const std::string& note) { session.note(note); };
  session.announce_stages({"distill", "compare", "quantize"});
  const auto start = std::chrono::steady_clock::now();
  const SourceModel original = SourceModel::open(options.original);
  SourceModel quantized = SourceModel::open(options.model);
  for (const SourceModel* const source : {&original, static_cast<const SourceModel*>(&quantized)})
    for (const std::string& note : source_notes(*source)) session.note(note);
  const DistillSummary summary = distill_model(quantized, original, request, session.machine());
  const double seconds = seconds_since(start);
  session.end_progress();
  for (const std::string& one : summary.left_alone) session.note("note: not trained: " + one);
  if (session.json()) return session.print_json(to_json(summary, seconds));
  session.print(text_of(summary, request, seconds));
}

}  // namespace

void add_distill(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  DistillRequest& request = options->request;
  DistillationSettings& settings = request.settings;
  CLI::App* const verb = app.add_subcommand(
      "distill", "Train what a quantized model holds beside codes to predict what its original does");
  verb->footer(
      "Examples:\n"
      "  nibble distill fable-q2_k.gguf --original models/fable-5M --text models/fable-5M/calibration.txt -o "
      "better.gguf\n"
      "  nibble distill fable-gptq --original models/fable-5M --text a.txt --validation b.txt --steps 1000 -o "
      "better\n\n"
      "Scales, biases of groups, tables, norms and biases change, and codes with --codes; the container stays.\n"
      "The best state on text that is not trained on is written, the beginning being one: nothing gets worse there.\n"
      "The state of a run lies beside the output, in OUTPUT.training: the same command goes on where it was "
      "interrupted, and ends in the same bytes.");
  verb->add_option("model", options->model, "The quantized model: directory or .gguf")->required();
  verb->add_option("--original", options->original, "What it was made of: directory or .gguf")->required();
  verb->add_option("--text", options->texts, "Text to train on; documents are separated by two empty lines")
      ->required();
  verb->add_option("-o,--output", options->output,
                   "NAME.gguf: one file; anything else: a directory, of the kind that the model lies in")
      ->required();
  verb->add_option("--to", request.container,
                   "Container in place of the one that the output's name and the model tell: " + container_names());
  add_steps(*verb, settings.steps, settings.batch);
  verb->add_option("--rate", settings.rate,
                   "Learning rate, as a share of each number, at two bits a weight; half as much for each bit more")
      ->check(number_within(1e-9, 10))
      ->capture_default_str();
  add_fall(*verb, options->fall, settings.warm_up);
  verb->add_option("--temperature", settings.temperature, "Of the distributions that are compared")
      ->check(number_within(0.01, 100))
      ->capture_default_str();
  verb->add_flag("--codes", options->trains_codes,
                 "Train codes, too: what is rounded to them moves, from their points, and takes the gradient of these");
  verb->add_option(
          "--code-rate", options->code_rate,
          "Learning rate of these, in distances between two points, at two bits a weight; half as much for each bit "
          "more (default: 6 / --steps)")
      ->check(number_within(1e-9, 10));
  verb->add_flag("--train-embedding", settings.trains_embedding,
                 "Train the embedding and the head, too, where they are in floating point. Needs more text");
  verb->add_flag("--keep-norms", options->keeps_norms, "Train grids alone, neither norms nor biases");
  add_held_out(*verb, options->validation, request.held_out);
  verb->add_option("--validate-every", settings.validate_every, "Steps between judgements; 0: none, the end is written")
      ->check(count_within(0, 1'000'000'000))
      ->capture_default_str();
  verb->add_option("--patience", settings.patience, "Judgements without a better one after which the run ends; 0: none")
      ->check(count_within(0, 1'000'000))
      ->capture_default_str();
  verb->add_option("--text-seed", settings.batch.seed, "Of the order of the text")->capture_default_str();
  add_arithmetic(*verb, options->arithmetic);
  add_save_every(*verb, request.save_every);
  session.add_force_text(*verb);
  session.add_json(*verb);
  session.add_threads(*verb);
  verb->callback([options, verb, &session] { distill(*verb, *options, session); });
}

}  // namespace nibble::cli
