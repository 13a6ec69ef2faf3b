// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <optional>
#include <ranges>
#include <set>

#include "base/elapsed.h"
#include "base/letter_case.h"
#include "base/output_file.h"
#include "cli/distributed.h"
#include "cli/option_checks.h"
#include "cli/quantize_arguments.h"
#include "cli/verbs.h"
#include "nibble/error.h"
#include "pipeline/budget/budgeted_quantization.h"
#include "pipeline/budget/sensitivity.h"
#include "pipeline/convert/several_containers.h"
#include "pipeline/convert/source_loss.h"
#include "pipeline/quantize/calibrate_model.h"
#include "pipeline/quantize/quantize_model.h"
#include "pipeline/quantize/quantize_plan.h"
#include "pipeline/quantize/recipe_json.h"
#include "pipeline/quantize/shared_work.h"
#include "pipeline/quantize/verified_quantization.h"
#include "report/number_text.h"
#include "report/quantize_report.h"
#include "report/verdict_json.h"
#include "report/verdict_tables.h"

namespace nibble::cli {
namespace {

using Options = QuantizeArguments;

std::string describe(const QuantizeSummary& summary, bool dry_run, const TableStyle& style) {
  const std::string activations =
      summary.activations.empty() ? "" : fmt::format("{}: inputs of quantized Linears\n", summary.activations);
  return kinds_table(summary).text(style) + activations +
         fmt::format("\n{}; {} bits per weight, {} in the Linear layers\n", size_text(summary, dry_run),
                     fixed_text(summary.bits_per_weight, 3), fixed_text(summary.linear_bits_per_weight, 3));
}

std::string tensor_table(const QuantizeSummary& summary, const TableStyle& style) {
  Table table({{"tensor"},
               {"rows", Align::right},
               {"cols", Align::right},
               {"from"},
               {"format"},
               {"bytes", Align::right},
               {""}});
  for (const TensorSummary& tensor : summary.tensors)
    table.add({tensor.name, std::to_string(tensor.rows), std::to_string(tensor.cols), tensor.source_format,
               tensor.format, grouped_text(tensor.bytes), tensor.wanted.empty() ? "" : "instead of " + tensor.wanted});
  return table.text(style) + "\n";
}

VerifyOptions verify_options(const Options& options, Session& session) {
  VerifyOptions request;
  if (!options.accept.empty()) request.requirements = parse_requirements(options.accept);
  request.texts = session.read_named_texts(options.verify);
  request.judge.kernels = session.kernels();
  request.judge.split_windows = options.split;
  request.judge.windows.parse_special = options.texts.parse_special();
  return request;
}

std::string describe(const VerifiedQuantization& verified, Session& session) {
  const VerdictTextOptions style{.style = session.style()};
  std::string text = verdict_text(verified.verdict, style);
  if (verified.acceptance) text += acceptance_text(*verified.acceptance, verified.verdict, "the output", style);
  return text;
}

Budget budget_of(const Options& options) {
  Budget budget{.bits_per_weight = options.bits, .max_kl = options.max_kl};
  if (!options.size.empty()) budget.bytes = bytes_of_option(options.size, "--size");
  return budget;
}

SensitivityOptions sensitivity_options(const Options& options, Session& session) {
  SensitivityOptions named;
  named.named_formats = options.candidates;
  SensitivityOptions request = for_output(std::move(named), options.request);
  request.kernels = session.kernels();
  request.progress = session.progress();
  return request;
}

// The block format's name that a mix has, too; empty where the spelling is anything else.
std::string request_name(const std::string& spelling) {
  const std::string name = lower_case(spelling.substr(0, spelling.find('+')));
  const bool is_mix = std::ranges::any_of(list_mixes(), [&](const MixInfo& mix) { return mix.name == name; });
  const bool is_format =
      std::ranges::any_of(list_formats(), [&](const FormatPtr& format) { return format->name() == name; });
  return is_mix && is_format ? name : "";
}

void print_pareto(const Sensitivities& sensitivities, Session& session) {
  Table table(
      {{"bits/weight", Align::right}, {"tensor bytes", Align::right}, {"expected KL", Align::right}, {"mostly"}});
  Json json = Json::array();
  std::uint64_t last = 0;
  for (double bits = 1.25; bits <= 8.5; bits += 0.25) {
    try {
      const SolvedRecipe solved = solve_recipe(sensitivities, {.bits_per_weight = bits});
      if (std::exchange(last, solved.bytes) == solved.bytes) continue;  // the finest already
      table.add({fixed_text(solved.bits_per_weight, 3), grouped_text(solved.bytes),
                 fmt::format("{:.5f}", solved.expected_kl), solved.recipe.main_format});
      json.push_back({{"bits_per_weight", solved.bits_per_weight},
                      {"bytes", solved.bytes},
                      {"expected_kl", solved.expected_kl},
                      {"mostly", solved.recipe.main_format}});
    } catch (const Error&) {
      continue;  // below what the smallest formats take
    }
  }
  session.json() ? session.print_json({{"pareto", json}}) : session.print(table.text(session.style()));
}

// What came of it, in whichever way it was asked for.
struct Outcome {
  QuantizeSummary summary;
  std::optional<VerifiedQuantization> verified;
  std::optional<BudgetedQuantization> budgeted;
  std::optional<SourceLoss> source_loss;
  std::vector<ConvertSummary> copies;    // in further containers
  std::vector<ContainerOutput> planned;  // the same where nothing is written
  std::set<std::string> told;            // notes of before and during the work
  std::optional<PartSummary> part;       // where no output is
  double seconds = 0;
};

// Formats of about 4 bits for rows that no block of 256 divides, where most of the model has such rows.
std::string alternatives_of(const QuantizeSummary& summary) {
  if (2 * summary.substituted_parameters < summary.parameters) return {};
  for (const TensorSummary& tensor : summary.tensors)
    if (!tensor.wanted.empty() && tensor.cols % 32 != 0) return {};
  return "; about 4 bits for such rows: iq4_nl, q4_1 or q4_0 --fit search in a GGUF file, int4:g32 in a directory";
}

// A bare name of a block format that is a mix's, too, is not what users of llama.cpp call by it.
void note_namesake(const SourceModel& source, const Options& options, const QuantizeSummary& summary,
                   Session& session) {
  const std::string name = request_name(options.format);
  if (name.empty()) return;
  QuantizeModelOptions other = options.request;
  other.recipe = find_recipe("mix:" + name);
  other.strict = false;
  const QuantizePlan mix = plan_quantization(source, other);
  std::uint64_t bytes = 0;
  for (const TensorPlan& tensor : mix.tensors) bytes += plane_bytes(*tensor.target.format, tensor.rows, tensor.cols);
  std::string difference;
  for (std::size_t i = 0; i < mix.tensors.size() && i < summary.tensors.size(); ++i)
    if (mix.tensors[i].target.format->name() != summary.tensors[i].format && !summary.tensors[i].linear)
      difference += fmt::format("{} in {}, ", summary.tensors[i].kind, mix.tensors[i].target.format->name());
  if (bytes == summary.tensor_bytes) return;
  session.note(fmt::format(
      "note: {} here is every matrix in {}; what llama.cpp makes by that name is -f mix:{} ({}{} bytes, not {})", name,
      name, name, difference, grouped_text(bytes), grouped_text(summary.tensor_bytes)));
}

// Whose scales are the reference's unless a better grid is asked for.
void note_better_fit(const Options& options, const QuantizeSummary& summary, Session& session) {
  if (!options.fit.empty() || options.request.method != "rtn" || options.has_budget()) return;
  constexpr std::array<std::string_view, 4> kAsTheReference = {"q4_0", "q4_1", "q5_0", "q5_1"};
  for (const TensorSummary& tensor : summary.tensors)
    if (tensor.linear && tensor.wanted.empty() &&
        std::ranges::find(kAsTheReference, tensor.format) != kAsTheReference.end())
      return session.note(
          fmt::format("note: {} is fitted as llama.cpp does, byte for byte; --fit search loses less in as many bytes",
                      tensor.format));
}

std::string loss_text(const SourceLoss& loss) {
  return fmt::format(
      "the source had lost {} of its original's weights before (root mean square of {} matrices; most in "
      "{}: {})",
      percent_text(loss.relative_rms), loss.matrices, loss.worst, percent_text(loss.worst_relative_rms));
}

Json to_json(const SourceLoss& loss) {
  return {{"matrices", loss.matrices},
          {"relative_rms", loss.relative_rms},
          {"worst", loss.worst},
          {"worst_relative_rms", loss.worst_relative_rms}};
}

void print_part(const PartSummary& part, double seconds, Session& session) {
  if (session.json())
    return session.print_json({{"part", job_part_text(part.part)},
                               {"directory", part.directory.string()},
                               {"pieces", part.pieces},
                               {"pieces_found", part.found},
                               {"bytes", part.bytes}});
  session.print(fmt::format("part {}: {} pieces in {}, {}, {} of them there before; {}\n", job_part_text(part.part),
                            part.pieces, part.directory.string(), bytes_text(part.bytes), part.found,
                            duration_text(seconds)));
}

void print_outcome(const Outcome& outcome, const Options& options, Session& session) {
  const QuantizeSummary& summary = outcome.summary;
  for (const std::string& note : source_notes(summary)) session.note(note);
  for (const ConvertSummary& copy : outcome.copies)
    for (const std::string& note : source_notes(copy.output))
      session.note(fmt::format("{}: {}", copy.output.output.string(), note));
  if (const std::string text = describe_substitutions(summary); !text.empty())
    session.note("note: " + text + alternatives_of(summary));
  for (const std::string& warning : summary.warnings)
    if (!outcome.told.contains("note: " + warning)) session.note("warning: " + warning);
  const VerifiedQuantization* const verified = outcome.budgeted   ? &outcome.budgeted->outcome
                                               : outcome.verified ? &*outcome.verified
                                                                  : nullptr;
  if (outcome.budgeted)
    if (const std::string text = disagreement_text(outcome.budgeted->rounds[outcome.budgeted->kept]); !text.empty())
      session.note("warning: " + text);
  if (verified != nullptr && verified->acceptance) session.set_exit_code(exit_code_of({*verified->acceptance}));
  if (outcome.source_loss) session.note(loss_text(*outcome.source_loss));
  if (session.json()) {
    Json json = outcome.budgeted      ? to_json(*outcome.budgeted)
                : verified != nullptr ? to_json(*verified)
                                      : to_json(summary);
    if (outcome.source_loss) json["source_loss"] = to_json(*outcome.source_loss);
    for (const ConvertSummary& copy : outcome.copies)
      json["copies"].push_back(
          {{"output", copy.output.output.string()}, {"bytes", copy.output.output_bytes}, {"notes", copy.output.notes}});
    for (const ContainerOutput& copy : outcome.planned)
      json["copies"].push_back({{"output", copy.path.string()}, {"tensor_bytes", copy.tensor_bytes}});
    return session.print_json(json);
  }
  std::string text;
  if (outcome.budgeted)
    text +=
        rounds_table(outcome.budgeted->rounds).text(session.style()) +
        (outcome.budgeted->held_out ? "\njudged on the end of the text, which was held out of calibration\n\n" : "\n");
  if (verified != nullptr && !verified->released)
    return session.print(text + describe(*verified, session) +
                         fmt::format("{} was not written.\n", summary.output.string()));
  text += describe(summary, options.request.dry_run, session.style());
  if (options.request.dry_run)
    text += options.verbose ? "\n" + tensor_table(summary, session.style()) : "which tensor gets what: --verbose\n";
  if (!options.request.dry_run)
    text += fmt::format("{} in {}\n", summary.output.string(), duration_text(outcome.seconds));
  for (const ConvertSummary& copy : outcome.copies)
    text +=
        fmt::format("{}: the same numbers, {}\n", copy.output.output.string(), bytes_text(copy.output.output_bytes));
  for (const ContainerOutput& copy : outcome.planned)
    text += fmt::format("{}: the same numbers, tensors of {}\n", copy.path.string(), bytes_text(copy.tensor_bytes));
  if (verified != nullptr) text += "\n" + describe(*verified, session);
  session.print(text);
}

// Those that come, where there are several.
void announce_stages(const Options& options, Session& session) {
  if (options.pareto) return session.announce_stages({});
  std::vector<std::string> stages;
  if (options.has_budget()) stages = {"sensitivity", "mixes"};
  if (options.request.calibration.hessian.is_guided()) stages.emplace_back("gradients");
  if (stages.empty()) return;
  stages.emplace_back("quantize");
  if (options.has_budget() || !options.verify.empty()) stages.emplace_back("evaluate");
  session.announce_stages(std::move(stages));
}

void save_recipe(const Options& options, const Recipe& recipe) {
  if (options.recipe_output.empty()) return;
  OutputFile file(options.recipe_output);
  file.write(recipe_to_json(recipe) + "\n");
  file.commit();
}

Outcome quantize_as_asked(const SourceModel& source, const Options& options, Session& session) {
  Outcome outcome;
  const QuantizeModelOptions& request = options.request;
  if (options.has_budget() && !request.dry_run) {
    BudgetRequest budget{.budget = budget_of(options),
                         .verify = verify_options(options, session),
                         .sensitivity = sensitivity_options(options, session)};
    budget.on_plan = [&session](const PlannedMix& plan) {
      for (const MeasuredMix& mix : plan.measured) session.note(mix_text(mix));
    };
    budget.on_round = [&session](const BudgetRound& round) { session.note(round_text(round)); };
    outcome.budgeted = quantize_to_budget(source, request, budget, session.machine(), session.progress());
    outcome.summary = outcome.budgeted->outcome.summary;
    save_recipe(options, outcome.budgeted->recipe);
    return outcome;
  }
  if (options.ranks == nullptr || options.ranks->is_root()) save_recipe(options, request.recipe);
  if (options.ranks != nullptr) {
    outcome.summary = quantize_in_ranks(source, request, *options.ranks, session.machine(), session.progress());
  } else if (options.part) {
    outcome.part = quantize_part(source, request, *options.part, session.machine(), session.progress());
  } else if (options.assembles) {
    outcome.summary = assemble_parts(source, request, session.machine(), session.progress());
  } else if (options.verify.empty()) {
    outcome.summary = quantize_model(source, request, session.machine(), session.progress());
  } else {
    outcome.verified =
        quantize_verified(source, request, verify_options(options, session), session.machine(), session.progress());
    outcome.summary = outcome.verified->summary;
  }
  return outcome;
}

// What a disk that is full leaves behind is told, since it takes room on that disk.
Outcome quantize_or_tell_what_remains(const SourceModel& source, const Options& options, Session& session) {
  try {
    return quantize_as_asked(source, options, session);
  } catch (const Error& error) {
    const std::filesystem::path work = unfinished_work(options.output);
    std::error_code ignored;
    if (error.kind() != ErrorKind::resource || !std::filesystem::exists(work, ignored)) throw;
    throw Error(
        error.kind(),
        fmt::format(
            "{}; finished pieces are kept in {}: make room and give the same command to go on from there, or remove it",
            error.what(), work.string()),
        error.setting());
  }
}

void quantize(const CLI::App& verb, Options& options, Session& session) {
  if (is_net(options.model))
    return quantize_net_command(verb, options.net,
                                {.model = options.model,
                                 .format = options.format,
                                 .output = options.output,
                                 .method = options.request.method,
                                 .activation_fit = options.activation_fit,
                                 .runtime = options.request.runtime,
                                 .exclude = options.request.exclude,
                                 .containers = options.containers,
                                 .learning = options.request.learning,
                                 .seed = options.request.calibration.sampling.seed,
                                 .writes = !options.request.dry_run},
                                session);
  judge_arguments(verb, options);
  announce_stages(options, session);
  QuantizeModelOptions& request = options.request;
  request.on_layer = [&session](const LayerReport& report) { session.note(layer_text(report)); };
  std::set<std::string> told;
  request.note = [&](const std::string& note) {
    told.insert(note);
    session.note(note);
  };
  const SourceModel source = SourceModel::open(options.model);
  if (!request.runtime.empty() && request.container.empty())
    request.container = container_for(find_runtime(request.runtime), source, request).name();
  std::vector<ContainerOutput> outputs;
  if (options.containers.size() > 1) {
    outputs = arrange_outputs(source, request, options.containers, options.output);
    request.container = outputs.front().container->name();
    if (!request.output.empty()) request.output = options.output = outputs.front().path.string();
  }
  refuse_idle_methods(verb, options, source);
  if (verb.count("--length") != 0)
    refuse_longer_than_context(request.calibration.sampling.length, source.config().context);
  std::optional<Statistics> statistics;
  if (!options.statistics.empty())
    request.calibration.statistics = &statistics.emplace(load_statistics(options.statistics, source));
  request.calibration.sampling.parse_special = options.texts.parse_special();
  for (NamedText& text : options.texts.read(source, session))
    request.calibration.texts.push_back({std::filesystem::path(text.name).filename().string(), std::move(text.text)});
  request.calibration.kernels = session.kernels();
  if (options.pareto || (request.dry_run && options.has_budget())) {
    if (!options.pareto && !options.max_kl)
      require_reachable(source, sensitivity_options(options, session), budget_of(options));
    const Sensitivities sensitivities = measure_sensitivities(source, request.calibration.texts,
                                                              sensitivity_options(options, session), session.machine());
    if (options.pareto) return print_pareto(sensitivities, session);
    request.recipe = solve_recipe(sensitivities, budget_of(options)).recipe;
    session.note(request.recipe.description);
  }
  std::optional<SourceLoss> lost;
  if (!options.original.empty())
    lost = measure_source_loss(source, SourceModel::open(options.original), session.pool(), session.progress());
  const auto start = std::chrono::steady_clock::now();
  Outcome outcome = quantize_or_tell_what_remains(source, options, session);
  const bool is_written = !request.dry_run && (!outcome.verified || outcome.verified->released);
  for (const ContainerOutput& copy : outputs | std::views::drop(1))
    if (request.dry_run)
      outcome.planned.push_back(
          {copy.container, options.output.empty() ? copy.container->name() : copy.path, copy.tensor_bytes});
    else if (is_written)
      outcome.copies.push_back(write_copy(outputs.front(), copy, request, session.machine(), session.progress()));
  outcome.seconds = seconds_since(start);
  outcome.source_loss = lost;
  outcome.told = std::move(told);
  session.end_progress();
  if (outcome.part) return print_part(*outcome.part, outcome.seconds, session);
  note_namesake(source, options, outcome.summary, session);
  note_better_fit(options, outcome.summary, session);
  print_outcome(outcome, options, session);
}

}  // namespace

void add_quantize(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  CLI::App* const verb = add_quantize_arguments(app, *options);
  session.add_force_text(*verb);
  session.add_json(*verb);
  session.add_threads(*verb);
  verb->callback([options, verb, &session] {
    if (!options->is_distributed) return quantize(*verb, *options, session);
    run_in_ranks(session, [&](Transport& ranks) {
      options->ranks = &ranks;
      quantize(*verb, *options, session);
    });
  });
}

}  // namespace nibble::cli
