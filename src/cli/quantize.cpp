// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <chrono>
#include <map>
#include <optional>

#include "base/output_file.h"
#include "cli/verbs.h"
#include "nibble/error.h"
#include "pipeline/budgeted_quantization.h"
#include "pipeline/calibrate_model.h"
#include "pipeline/quantize_model.h"
#include "pipeline/sensitivity.h"
#include "pipeline/verified_quantization.h"
#include "quantize/fit/fit_rule.h"
#include "quantize/method.h"
#include "report/number_text.h"
#include "report/quantize_report.h"
#include "report/verdict_json.h"
#include "report/verdict_tables.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string model, format, recipe_file, output, fit, activation_fit;
  std::vector<std::string> texts;
  std::string statistics, size, recipe_output, hidden_states = "memory";
  std::optional<double> bits, max_kl;
  bool pareto = false;
  QuantizeModelOptions request;
  std::vector<std::string> verify;
  std::string accept;
  std::size_t split = kUsualSplitWindows;
};

std::string describe(const QuantizeSummary& summary, bool dry_run, const TableStyle& style) {
  const std::uint64_t bytes = dry_run ? summary.tensor_bytes : summary.output_bytes;
  const std::string activations = summary.activations.empty() ? "" : fmt::format("{}: inputs of quantized Linears\n", summary.activations);
  return kinds_table(summary).text(style) + activations +
         fmt::format("\n{} {} ({} bytes), {} of the source's {}; {} bits per weight, {} in the Linear layers\n", dry_run ? "tensors:" : "written:",
                     bytes_text(bytes), grouped_text(bytes), percent_text(static_cast<double>(bytes) / static_cast<double>(summary.source_bytes)),
                     bytes_text(summary.source_bytes), fixed_text(summary.bits_per_weight, 3), fixed_text(summary.linear_bits_per_weight, 3));
}

std::string tensor_table(const QuantizeSummary& summary, const TableStyle& style) {
  Table table({{"tensor"}, {"rows", Align::right}, {"cols", Align::right}, {"from"}, {"format"}, {"bytes", Align::right}, {""}});
  for (const TensorSummary& tensor : summary.tensors)
    table.add({tensor.name, std::to_string(tensor.rows), std::to_string(tensor.cols), tensor.source_format, tensor.format, grouped_text(tensor.bytes),
               tensor.wanted.empty() ? "" : "instead of " + tensor.wanted});
  return table.text(style) + "\n";
}

VerifyOptions verify_options(const Options& options, Session& session) {
  VerifyOptions request;
  if (!options.accept.empty()) request.requirements = parse_requirements(options.accept);
  request.texts = session.read_named_texts(options.verify);
  request.judge.kernels = session.kernels();
  request.judge.split_windows = options.split;
  return request;
}

std::string describe(const VerifiedQuantization& verified, Session& session) {
  const VerdictTextOptions style{.style = session.style()};
  std::string text = verdict_text(verified.verdict, style);
  if (verified.acceptance) text += acceptance_text(*verified.acceptance, verified.verdict, "the output", style);
  return text;
}

// "3.5GB", "800MB", "123456".
std::uint64_t parse_size(const std::string& text) {
  std::size_t end = 0;
  double number = 0;
  try {
    number = std::stod(text, &end);
  } catch (const std::exception&) {
    end = 0;
  }
  static const std::map<std::string, double> kUnits = {{"", 1}, {"B", 1}, {"KB", 1e3}, {"K", 1e3}, {"MB", 1e6}, {"M", 1e6}, {"GB", 1e9}, {"G", 1e9}};
  const auto unit = kUnits.find(text.substr(end));
  const double factor = unit == kUnits.end() ? 0 : unit->second;
  if (end == 0 || factor == 0 || !(number > 0 && number * factor < 1e18))
    throw Error(ErrorKind::invalid_argument, fmt::format("a size is a number with B, KB, MB or GB after it, as in 3.5GB: {}", text));
  return static_cast<std::uint64_t>(number * factor);
}

bool has_budget(const Options& options) { return options.bits || options.max_kl || !options.size.empty() || options.pareto; }

Budget budget_of(const Options& options) {
  Budget budget{.bits_per_weight = options.bits, .max_kl = options.max_kl};
  if (!options.size.empty()) budget.bytes = parse_size(options.size);
  return budget;
}

SensitivityOptions sensitivity_options(const Options& options, Session& session) {
  SensitivityOptions request = for_output({}, options.request);
  request.kernels = session.kernels();
  request.progress = session.progress();
  return request;
}

void print_pareto(const Sensitivities& sensitivities, Session& session) {
  Table table({{"bits/weight", Align::right}, {"tensor bytes", Align::right}, {"expected KL", Align::right}, {"mostly"}});
  Json json = Json::array();
  for (double bits = 2.75; bits <= 8.5; bits += 0.25) {
    try {
      const SolvedRecipe solved = solve_recipe(sensitivities, {.bits_per_weight = bits});
      table.add(
          {fixed_text(solved.bits_per_weight, 3), grouped_text(solved.bytes), fmt::format("{:.5f}", solved.expected_kl), solved.recipe.main_format});
      json.push_back({{"bits_per_weight", solved.bits_per_weight}, {"bytes", solved.bytes}, {"expected_kl", solved.expected_kl}});
    } catch (const Error&) {
      continue;  // below what the smallest formats take
    }
  }
  session.json() ? session.print_json({{"pareto", json}}) : session.print(table.text(session.style()));
}

void judge_options(const Options& options) {
  const int budgets = (options.bits ? 1 : 0) + (options.size.empty() ? 0 : 1) + (options.max_kl ? 1 : 0) + (options.pareto ? 1 : 0);
  const int ways = (options.format.empty() ? 0 : 1) + (options.recipe_file.empty() ? 0 : 1) + budgets;
  if (ways != 1)
    throw Error(ErrorKind::invalid_argument,
                "name one of a format (-f q4_k_m), a recipe (--recipe FILE) and a budget (--bpw, --size, --max-kl, --pareto); "
                "'nibble formats' lists the formats");
  if (options.max_kl && !(*options.max_kl > 0))
    throw Error(ErrorKind::invalid_argument, fmt::format("a divergence to stay within is a number above 0, as in --max-kl 0.02: {}", *options.max_kl));
  if (budgets > 0 && options.texts.empty())
    throw Error(ErrorKind::invalid_argument,
                "a budget is met by measuring on text what each tensor costs, and the result is judged on a part of it that is held out "
                "(or on --verify FILE); add --text FILE");
  if (options.output.empty() && !options.request.dry_run && !options.pareto)
    throw Error(ErrorKind::invalid_argument, "no output is named; add -o OUT.gguf or -o DIRECTORY");
  if (options.verify.empty() && !options.accept.empty() && (budgets == 0 || options.pareto))
    throw Error(ErrorKind::invalid_argument, "what is accepted is judged on a text; add --verify TEXT");
}

// What came of it, in whichever way it was asked for.
struct Outcome {
  QuantizeSummary summary;
  std::optional<VerifiedQuantization> verified;
  std::optional<BudgetedQuantization> budgeted;
  double seconds = 0;
};

void print_outcome(const Outcome& outcome, const Options& options, Session& session) {
  const QuantizeSummary& summary = outcome.summary;
  for (const std::string& name : summary.ignored) session.note(fmt::format("note: tensor '{}' is not part of the model and is left out", name));
  for (const std::string& note : summary.notes) session.note("note: " + note);
  if (const std::string text = describe_substitutions(summary); !text.empty()) session.note("note: " + text);
  for (const std::string& warning : summary.warnings) session.note("warning: " + warning);
  const VerifiedQuantization* const verified = outcome.budgeted ? &outcome.budgeted->outcome : outcome.verified ? &*outcome.verified : nullptr;
  if (outcome.budgeted)
    if (const std::string text = disagreement_text(outcome.budgeted->rounds[outcome.budgeted->kept]); !text.empty()) session.note("warning: " + text);
  if (verified != nullptr && verified->acceptance) session.set_exit_code(exit_code_of({*verified->acceptance}));
  if (session.json())
    return session.print_json(outcome.budgeted ? to_json(*outcome.budgeted) : verified != nullptr ? to_json(*verified) : to_json(summary));
  std::string text;
  if (outcome.budgeted)
    text += rounds_table(outcome.budgeted->rounds).text(session.style()) +
            (outcome.budgeted->held_out ? "\njudged on the end of the text, which was held out of calibration\n\n" : "\n");
  if (verified != nullptr && !verified->released)
    return session.print(text + describe(*verified, session) + fmt::format("{} was not written.\n", summary.output.string()));
  if (options.request.dry_run) text += tensor_table(summary, session.style());
  text += describe(summary, options.request.dry_run, session.style());
  if (!options.request.dry_run) text += fmt::format("{} in {}\n", summary.output.string(), duration_text(outcome.seconds));
  if (verified != nullptr) text += "\n" + describe(*verified, session);
  session.print(text);
}

void save_recipe(const Options& options, const Recipe& recipe) {
  if (options.recipe_output.empty()) return;
  OutputFile file(options.recipe_output);
  file.write(recipe_to_json(recipe) + "\n");
  file.commit();
}

Outcome quantize_as_asked(const Checkpoint& source, const Options& options, Session& session) {
  Outcome outcome;
  const QuantizeModelOptions& request = options.request;
  if (has_budget(options) && !request.dry_run) {
    BudgetRequest budget{.budget = budget_of(options), .verify = verify_options(options, session), .sensitivity = sensitivity_options(options, session)};
    budget.on_plan = [&session](const PlannedMix& plan) {
      for (const MeasuredMix& mix : plan.measured) session.note(mix_text(mix));
    };
    budget.on_round = [&session](const BudgetRound& round) { session.note(round_text(round)); };
    outcome.budgeted = quantize_to_budget(source, request, budget, session.pool(), session.progress());
    outcome.summary = outcome.budgeted->outcome.summary;
    save_recipe(options, outcome.budgeted->recipe);
    return outcome;
  }
  save_recipe(options, request.recipe);
  if (options.verify.empty()) {
    outcome.summary = quantize_model(source, request, session.pool(), session.progress());
  } else {
    outcome.verified = quantize_verified(source, request, verify_options(options, session), session.pool(), session.progress());
    outcome.summary = outcome.verified->summary;
  }
  return outcome;
}

void quantize(Options& options, Session& session) {
  judge_options(options);
  if (has_budget(options)) session.announce_stages();
  QuantizeModelOptions& request = options.request;
  if (!options.recipe_file.empty()) request.recipe = recipe_from_json(read_text(options.recipe_file), options.recipe_file);
  if (!options.format.empty()) choose_format(request, options.format);
  request.output = options.output;
  if (!options.fit.empty()) request.fit = find_fit(options.fit);
  if (!options.activation_fit.empty()) {
    if (!request.activations || !request.activations->format.is_static())
      throw Error(ErrorKind::invalid_argument, "only static grids of activations are fitted; name a format such as int8:row+a8:static");
    request.activations->fit = find_fit(options.activation_fit);
  }
  request.isa = session.kernels().isa;
  request.on_layer = [&session](const LayerReport& report) { session.note(layer_text(report)); };
  const Checkpoint source = Checkpoint::open(options.model);
  std::optional<Statistics> statistics;
  if (!options.statistics.empty()) request.calibration.statistics = &statistics.emplace(load_statistics(options.statistics, source));
  for (const std::string& path : options.texts)
    request.calibration.texts.push_back({std::filesystem::path(path).filename().string(), session.read_corpus(path)});
  request.calibration.kernels = session.kernels();
  request.calibration.spill_directory = spill_directory(options.hidden_states, options.output);
  if (options.pareto || (request.dry_run && has_budget(options))) {
    const Sensitivities sensitivities =
        measure_sensitivities(source, request.calibration.texts, sensitivity_options(options, session), session.pool());
    if (options.pareto) return print_pareto(sensitivities, session);
    request.recipe = solve_recipe(sensitivities, budget_of(options)).recipe;
    session.note(request.recipe.description);
  }
  const auto start = std::chrono::steady_clock::now();
  Outcome outcome = quantize_as_asked(source, options, session);
  outcome.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  session.end_progress();
  print_outcome(outcome, options, session);
}

std::string fit_help() {
  std::string text = "How grids are chosen:";
  for (const NamedFit& fit : list_fits()) text += fmt::format("\n{}: {}", fit.name, fit.description);
  return text;
}

}  // namespace

void add_quantize(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  CLI::App* const verb = app.add_subcommand("quantize", "Write a model in another format: to a GGUF file or a Hugging Face directory");
  verb->footer(
      "Examples:\n"
      "  nibble quantize models/tale-4M -f q4_k_m -o tale.gguf      a mix, as llama.cpp makes it\n"
      "  nibble quantize models/tale-4M -f int4:g32 -o tale-int4    planar: Linear layers only, in a directory\n"
      "  nibble quantize models/tale-4M -f q4_k --head q6_k -o tale.gguf\n"
      "  nibble quantize models/tale-4M -f int8:row+a8:static --text models/tale-4M/calibration.txt -o tale-w8a8\n"
      "  nibble quantize models/tale-4M -f q2_k --dry-run           which tensor gets what\n"
      "  nibble quantize models/tale-4M -f q4_k --method gptq --text models/tale-4M/calibration.txt -o tale.gguf\n"
      "  nibble quantize models/tale-4M --bpw 4.5 --method gptq --text models/tale-4M/calibration.txt -o tale.gguf\n"
      "  nibble quantize model.gguf -f f16 -o directory             GGUF to Hugging Face");
  verb->add_option("model", options->model, "Hugging Face directory, .safetensors or .gguf")->required();
  verb->add_option(
      "-f,--format", options->format,
      "Format or mix: 'nibble formats' lists them; behind a plus the inputs' format: a8 (which is a8:g128:wide), a8:g32, a8:g64, a8:g128, "
      "each also with :wide, a16:g128, a8:token, a8:static, the latter two also with :asym");
  verb->add_option("--recipe", options->recipe_file, "JSON file of rules instead of a format: 'nibble recipe show q4_k_m --json' prints one");
  verb->add_option("--bpw", options->bits, "Instead of a format: the mix that loses least at so many bits per weight; needs --text, a part of which judges the result");
  verb->add_option("--size", options->size, "The same for a file of so many bytes: 3.5GB");
  verb->add_option("--max-kl", options->max_kl, "The smallest mix whose divergence, judged on text that calibration does not see, stays within this");
  verb->add_flag("--pareto", options->pareto, "Print size against expected divergence of the best mixes; write nothing");
  verb->add_option("--save-recipe", options->recipe_output, "Write the recipe that was used as JSON");
  verb->add_option("-o,--output", options->output, "OUT.gguf for a GGUF file, any other name for a directory");
  verb->add_option("--method", options->request.method, "How values are chosen: rtn, mse, imatrix, table, awq, smoothquant, gptq, descent")
      ->capture_default_str();
  verb->add_option("--transform", options->request.transform, "First stage in place of the method's: none, awq, smoothquant");
  verb->add_option("--round", options->request.round, "Last stage in place of the method's: nearest, gptq, descent");
  verb->add_option("--alpha", options->request.smoothquant_alpha, "Of smoothquant: how much range moves into the weights (default 0.5)");
  verb->add_option("--text", options->texts, "Calibration text for methods that need it; may be given more than once");
  verb->add_option("--stats,--imatrix", options->statistics,
                   "Statistics of 'nibble calibrate', or llama.cpp's importance matrix, in place of a text");
  verb->add_option("--samples", options->request.calibration.sampling.samples, "Windows of calibration text; 0: all")->capture_default_str();
  verb->add_option("--length", options->request.calibration.sampling.length, "Tokens in a calibration window")->capture_default_str();
  verb->add_option("--seed", options->request.calibration.sampling.seed, "Which windows are drawn")->capture_default_str();
  add_walk(*verb, options->request.calibration.walk);
  add_hidden_states(*verb, options->hidden_states);
  verb->add_option("--fit", options->fit, fit_help());
  verb->add_option(
      "--activation-fit", options->activation_fit,
      "How static grids of activations (-f int8:row+a8:static) are chosen from --text or --stats: absmax, percentile:99.99, mse (default), entropy");
  verb->add_option("--embedding", options->request.embedding, "Format of the embedding");
  verb->add_option("--head", options->request.head, "Format of the output head");
  verb->add_flag("--strict", options->request.strict,
                 "What the output cannot hold is an error: a tensor that does not fit its format, tokens that GGUF has no place for, a second head; so "
                 "are statistics that have nothing of a tensor");
  verb->add_flag("--dry-run", options->request.dry_run, "Show which tensor gets what and how many bytes; write nothing");
  verb->add_flag("--allow-requantize", options->request.allow_requantize, "Quantize a model that is quantized already");
  verb->add_flag("--sync", options->request.sync, "Have the disk confirm the output before it appears");
  verb->add_option("--verify", options->verify, "Texts on which the output is judged against the model before it takes its place");
  verb->add_option("--accept", options->accept,
                   "With --verify: what is required, as in \"kl<=0.02, top1>=0.97\"; otherwise nothing is written (exit 3, undecided 4)");
  add_split(*verb, options->split);
  session.add_force_text(*verb);
  session.add_json(*verb);
  session.add_threads(*verb);
  verb->callback([options, &session] { quantize(*options, session); });
}

}  // namespace nibble::cli
