// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "base/elapsed.h"
#include "cli/option_checks.h"
#include "cli/places.h"
#include "cli/training_options.h"
#include "cli/verbs.h"
#include "nibble/error.h"
#include "pipeline/quantize/shorthand.h"
#include "pipeline/train/train_decoder.h"
#include "report/number_text.h"
#include "train/estimator/estimator.h"

namespace nibble::cli {
namespace {

struct Options {
  std::vector<std::string> texts, validation;
  std::string config, tokenizer, from, teacher, quantize, masters, output, optimizer = "muon", fall = "cosine",
                                                                           arithmetic = "auto", kv = "f32";
  TrainRequest request;
};

constexpr double kRateOfTrained = 0.1;  // of a run from nothing's

Json points_json(const std::vector<LossPoint>& points) {
  Json json = Json::array();
  for (const LossPoint& point : points) json.push_back({{"step", point.step}, {"loss", point.loss}});
  return json;
}

// What is made small: the text's own loss, of which e to the power is a perplexity; or what a teacher's words differ
// by, or some of both, of which it means nothing.
std::string loss_text(const std::vector<LossPoint>& points, const Options& options) {
  if (points.empty()) return "-";
  const double loss = points.back().loss;
  const double share = options.teacher.empty() ? 0 : options.request.settings.teacher_share;
  if (share == 0) return fmt::format("{:.3f} (perplexity {:.2f})", loss, std::exp(loss));
  return fmt::format("{:.5f} ({})", loss,
                     share == 1 ? "divergence from the teacher" : "in part divergence from the teacher");
}

std::string kept_text(const TrainSummary& summary) {
  if (!summary.kept) return "";
  if (summary.kept->step == 0)
    return fmt::format("written: what it began with, held-out {:.5g}; no step was better\n", summary.kept->loss);
  return fmt::format("written: the weights of step {}, held-out {:.5g}\n", summary.kept->step, summary.kept->loss);
}

std::string estimator_help() {
  std::string help = "What stands for the slope of rounding (default: what serves the format best)";
  for (const Estimator* const estimator : list_estimators())
    help += fmt::format("; {}: {}", estimator->name(), estimator->description());
  return help;
}

// What is trained already is changed in smaller steps.
void set_rates(const CLI::App& verb, Options& options) {
  TrainerSettings& settings = options.request.settings;
  const bool is_new = options.from.empty();
  if (!is_new && !options.request.quantize.empty()) {
    if (verb.count("--optimizer") == 0) settings.optimizer = OptimizerKind::adamw;
    if (settings.optimizer == OptimizerKind::adamw) {
      if (verb.count("--rate") == 0) settings.rate = rounded_rate(options.request.quantize);
      if (verb.count("--weight-decay") == 0) settings.weight_decay = 0;
      return;
    }
  }
  if (verb.count("--rate") == 0) {
    if (settings.optimizer == OptimizerKind::adamw) settings.rate = 0.002;
    if (settings.optimizer == OptimizerKind::sgd) settings.rate = 0.1;
    if (!is_new) settings.rate *= kRateOfTrained;
  }
  if (verb.count("--matrix-rate") == 0 && !is_new) settings.matrix_rate *= kRateOfTrained;
  if (verb.count("--weight-decay") == 0 && !is_new) settings.weight_decay = 0;
}

void train(const CLI::App& verb, Options& options, Session& session) {
  TrainRequest& request = options.request;
  if (options.output.empty()) throw Error(ErrorKind::invalid_argument, "name a directory to write", "output");
  Places places;
  places.reads("--text", options.texts);
  places.reads("--validation", options.validation);
  places.reads("--config", options.config);
  places.reads("--tokenizer", options.tokenizer);
  places.reads("--from", options.from);
  places.reads("--teacher", options.teacher);
  places.writes_directory("--output", options.output);
  if (!options.masters.empty()) places.writes_directory("--masters", options.masters);
  places.judge();
  TrainerSettings& settings = request.settings;
  settings.optimizer = *find_optimizer(options.optimizer);
  settings.fall = *find_rate_fall(options.fall);
  settings.kv = *parse_kv_type(options.kv);
  request.quantize = options.quantize.empty() ? "" : resolve_shorthand(options.quantize, true);
  const bool is_rounded_model = !options.from.empty() && !options.quantize.empty() && verb.count("--optimizer") == 0;
  const bool has_muon = !is_rounded_model && settings.optimizer == OptimizerKind::muon;
  refuse_without_effect(verb, "--matrix-rate", has_muon, "without --optimizer muon");
  refuse_without_effect(verb, "--patience", settings.validate_every > 0, "with --validate-every 0");
  refuse_without_effect(verb, "--held-out", options.validation.empty(), "with --validation");
  refuse_without_effect(verb, "--patience", !options.validation.empty() || request.held_out > 0, "with --held-out 0");
  if (options.config.empty() == options.from.empty())
    throw Error(ErrorKind::invalid_argument, "give either --config, a shape, or --from, a model to go on from");
  refuse_without_effect(verb, "--tokenizer", options.from.empty(), "with --from");
  refuse_without_effect(verb, "--seed", options.from.empty(), "with --from");
  refuse_without_effect(verb, "--teacher-share", !options.teacher.empty(), "without --teacher");
  refuse_without_effect(verb, "--temperature", !options.teacher.empty(), "without --teacher");
  for (const char* const option : {"--estimator", "--scale-rate", "--masters", "--embedding", "--head"})
    refuse_without_effect(verb, option, !options.quantize.empty(), "without --quantize");
  set_rates(verb, options);
  settings.arithmetic = arithmetic_of(options.arithmetic, session.machine().isa);
  request.config = options.config;
  request.tokenizer = options.tokenizer;
  request.from = options.from;
  request.teacher = options.teacher;
  request.masters = options.masters;
  request.output = options.output;
  request.text = joined_texts(options.texts, request.documents.separator, session);
  request.validation = joined_texts(options.validation, request.documents.separator, session);
  session.tell_items();
  request.progress = session.progress();
  request.note = [&](const std::string& note) { session.note(note); };
  const auto start = std::chrono::steady_clock::now();
  const TrainSummary summary = train_decoder(request, session.machine());
  const double seconds = seconds_since(start);
  session.end_progress();
  if (session.json())
    return session.print_json({{"output", summary.output.string()},
                               {"parameters", summary.parameters},
                               {"bytes", summary.bytes},
                               {"tokens", summary.tokens},
                               {"steps", summary.steps},
                               {"resumed_at", summary.resumed_at},
                               {"stopped_early", summary.stopped_early},
                               {"loss", points_json(summary.curve)},
                               {"validation", points_json(summary.validations)},
                               {"kept_step", summary.kept ? Json(summary.kept->step) : Json()}});
  const std::uint64_t read =
      (summary.steps - summary.resumed_at) * settings.accumulate * settings.batch.size * settings.batch.length;
  session.print(fmt::format("{}: {} parameters, {}\n{} steps{}, {} tokens in {} ({} tok/s)\nloss {}, held-out {}\n",
                            summary.output.string(), count_text(summary.parameters), bytes_text(summary.bytes),
                            summary.steps, summary.stopped_early ? ", stopped early" : "", count_text(read),
                            duration_text(seconds), speed_text(static_cast<double>(read) / seconds),
                            loss_text(summary.curve, options), loss_text(summary.validations, options)) +
                kept_text(summary));
}

}  // namespace

void add_train(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  TrainRequest& request = options->request;
  TrainerSettings& settings = request.settings;
  CLI::App* const verb = app.add_subcommand("train", "Train a decoder on text, from nothing or going on from a model");
  verb->footer(
      "Examples:\n"
      "  nibble train --text stories.txt --config models/fable-5M -o mine --steps 2000\n"
      "  nibble train --text a.txt --text b.txt --config shape.json --tokenizer models/fable-5M --validation held.txt "
      "--patience 5 -o mine\n"
      "  nibble train --text mine.txt --from models/fable-5M --steps 300 --patience 3 -o tuned\n"
      "  nibble train --text a.txt --config small.json --tokenizer models/fable-5M --teacher models/fable-5M -o "
      "small\n\n"
      "The state of a run lies beside the output, in OUTPUT.training: the same command goes on where it was "
      "interrupted, and ends in the same bytes.");
  verb->add_option("--text", options->texts, "Text to learn from; documents are separated by two empty lines")
      ->required();
  verb->add_option("--config", options->config, "The shape: config.json, or the directory of a model");
  verb->add_option("--from", options->from, "Go on from this model, in place of --config");
  verb->add_option("--tokenizer", options->tokenizer, "Directory of the tokenizer (default: that of --config)");
  verb->add_option("-o,--output", options->output, "Directory to write")->required();
  verb->add_option("--teacher", options->teacher,
                   "Learn what this model, of the same vocabulary, says of what follows (distillation)");
  verb->add_option("--teacher-share", settings.teacher_share, "Of the loss; the rest is what follows in the text")
      ->check(number_within(0, 1))
      ->capture_default_str();
  verb->add_option("--temperature", settings.temperature, "At which the teacher is heard")
      ->check(number_within(0.01, 100))
      ->capture_default_str();
  verb->add_option(
      "-q,--quantize", options->quantize,
      "Round matrices to this format while they are trained, and store them so: int4:g128, int2:g64, "
      "ternary:row, binary:row, q4_0, tq2_0, ...; +a8:g128, +a8:token or +a8:static behind it: inputs, too");
  verb->add_option("--embedding", request.embedding, "With --quantize, format of the embedding");
  verb->add_option("--head", request.head, "With --quantize, format of the output matrix");
  verb->add_option("--estimator", request.estimator, estimator_help());
  verb->add_option("--scale-rate", settings.scale_rate, "Learning rate of learned scales, as a share of each")
      ->check(number_within(1e-9, 10))
      ->capture_default_str();
  verb->add_option("--kv", options->kv,
                   "Let queries meet keys and values as a cache of this type gives them back: f16, q8_0 or q4_0, "
                   "the latter two also :rotated")
      ->check(CLI::IsMember(std::vector<std::string>(kKvTypeNames.begin(), kKvTypeNames.end())));
  verb->add_option("--masters", options->masters, "Directory for the numbers behind the rounded ones, to go on from");
  add_steps(*verb, settings.steps, settings.batch);
  verb->add_option("--accumulate", settings.accumulate, "Batches of a step")
      ->check(count_within(1, 65536))
      ->capture_default_str();
  verb->add_option("--optimizer", options->optimizer,
                   "muon (matrices of layers by Muon, the rest by AdamW), adamw (the default with --from and "
                   "--quantize) or sgd")
      ->check(CLI::IsMember({"muon", "adamw", "sgd"}))
      ->capture_default_str();
  verb->add_option("--rate", settings.rate,
                   "Learning rate (default of adamw alone 0.002, of sgd 0.1; a tenth of each with --from; with "
                   "--quantize, too, 0.001, and less where points lie closer)")
      ->check(number_within(1e-9, 10))
      ->capture_default_str();
  verb->add_option("--matrix-rate", settings.matrix_rate, "Learning rate of Muon (with --from a tenth)")
      ->check(number_within(0, 10))
      ->capture_default_str();
  verb->add_option("--weight-decay", settings.weight_decay, "Of matrices of layers (with --from 0)")
      ->check(number_within(0, 10))
      ->capture_default_str();
  verb->add_option("--clip", settings.clip, "The longest gradient; 0: any")
      ->check(number_within(0, 1e9))
      ->capture_default_str();
  add_fall(*verb, options->fall, settings.warm_up);
  verb->add_option("--hold", settings.hold, "Share of the steps in which it stays behind those")
      ->check(number_within(0, 1))
      ->capture_default_str();
  add_held_out(*verb, options->validation, request.held_out);
  verb->add_option("--validate-every", settings.validate_every, "Steps between judgements; 0: none")
      ->check(count_within(0, 1'000'000'000))
      ->capture_default_str();
  verb->add_option("--patience", settings.patience,
                   "Judgements without a better one after which the run ends, with the best weights; 0: it goes on")
      ->check(count_within(0, 1'000'000))
      ->capture_default_str();
  verb->add_option("--seed", request.seed, "Of the weights that it begins with")->capture_default_str();
  verb->add_option("--text-seed", settings.batch.seed, "Of the order of the text")->capture_default_str();
  add_arithmetic(*verb, options->arithmetic);
  verb->add_option("--dtype", request.dtype,
                   "bf16, f16 or f32: as the result is stored (default: as what it goes on from, else bf16)")
      ->check(CLI::IsMember({"bf16", "f16", "f32"}));
  add_save_every(*verb, request.save_every);
  session.add_force_text(*verb);
  session.add_json(*verb);
  session.add_threads(*verb);
  verb->callback([options, verb, &session] { train(*verb, *options, session); });
}

}  // namespace nibble::cli
