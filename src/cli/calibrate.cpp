// SPDX-License-Identifier: Apache-2.0
#include "pipeline/quantize/calibrate_model.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>

#include "base/elapsed.h"
#include "base/output_file.h"
#include "calibrate/adequacy.h"
#include "calibrate/imatrix_file.h"
#include "cli/option_checks.h"
#include "cli/places.h"
#include "cli/text_files.h"
#include "cli/verbs.h"
#include "nibble/error.h"
#include "report/number_text.h"
#include "report/statistics_report.h"

namespace nibble::cli {
namespace {

struct Options {
  std::string model, output, hidden_states = "memory";
  TextFiles texts;
  CalibrateOptions request;
};

std::string condition_text(const SiteAdequacy& site) {
  return site.condition == 0 ? "" : std::isinf(site.condition) ? "singular" : fmt::format("{:.1e}", site.condition);
}

// One line for all experts of a site, from the one at `first` on; gives the place behind the last.
std::size_t add_experts(Table& table, const std::vector<SiteAdequacy>& sites, std::size_t first) {
  SiteAdequacy least = sites[first], most = sites[first];
  std::size_t end = first;
  for (; end < sites.size() && sites[end].site == least.site && sites[end].expert >= 0; ++end) {
    const SiteAdequacy& site = sites[end];
    least.count = std::min(least.count, site.count), most.count = std::max(most.count, site.count);
    least.vectors_per_column = std::min(least.vectors_per_column, site.vectors_per_column);
    most.vectors_per_column = std::max(most.vectors_per_column, site.vectors_per_column);
    most.peak_ratio = std::max(most.peak_ratio, site.peak_ratio);
    most.dead_columns = std::max(most.dead_columns, site.dead_columns);
  }
  table.add({fmt::format("{} ({} experts)", least.site, end - first), std::to_string(least.width),
             range_text(std::to_string(least.count), std::to_string(most.count)),
             range_text(fixed_text(least.vectors_per_column, 1), fixed_text(most.vectors_per_column, 1)), "", "",
             fixed_text(most.peak_ratio, 1), std::to_string(most.dead_columns)});
  return end;
}

Table table_of(const CalibrationResult& result) {
  Table table({{"site"},
               {"columns", Align::right},
               {"vectors", Align::right},
               {"a column", Align::right},
               {"effective rank", Align::right},
               {"condition", Align::right},
               {"peak", Align::right},
               {"never used", Align::right}});
  for (std::size_t i = 0; i < result.adequacy.size(); ++i) {
    const SiteAdequacy& site = result.adequacy[i];
    if (site.expert >= 0) {
      i = add_experts(table, result.adequacy, i) - 1;
      continue;
    }
    table.add({site.site, std::to_string(site.width), std::to_string(site.count),
               fixed_text(site.vectors_per_column, 1),
               site.effective_rank == 0 ? "" : fixed_text(site.effective_rank, 1), condition_text(site),
               fixed_text(site.peak_ratio, 1), std::to_string(site.dead_columns)});
  }
  return table;
}

Json json_of(const CalibrationResult& result, const std::string& output) {
  Json sites = Json::array();
  for (const SiteAdequacy& site : result.adequacy)
    sites.push_back({{"site", site.site},
                     {"expert", site.expert},
                     {"width", site.width},
                     {"count", site.count},
                     {"effective_rank", site.effective_rank},
                     {"condition", site.condition},
                     {"peak_ratio", site.peak_ratio},
                     {"dead_columns", site.dead_columns},
                     {"warning", site.warning}});
  return {{"output", output},
          {"samples", result.statistics.samples},
          {"length", result.statistics.length},
          {"sites", sites},
          {"experts", experts_json(expert_tokens(result.statistics))},
          {"warnings", result.warnings}};
}

void judge_options(const CLI::App& verb, const Options& options) {
  if (options.texts.empty())
    throw Error(ErrorKind::invalid_argument, "name what to read: --text FILE, or conversations by --chat FILE");
  judge_text_files(verb, options.texts);
  if (options.request.sampling.samples == 0)
    refuse_without_effect(verb, "--seed", false, "with --samples 0, which takes all windows");
  refuse_without_effect(verb, "--full", !is_imatrix_name(options.output),
                        "for an importance matrix, which holds no second moments");
  Places places;
  places.reads("the model", options.model);
  options.texts.add_places(places);
  places.writes_file("--output", options.output);
  places.judge();
}

void calibrate(const CLI::App& verb, Options& options, Session& session) {
  judge_options(verb, options);
  options.request.collect.spill_directory = spill_directory(options.hidden_states, options.output);
  const SourceModel checkpoint = SourceModel::open(options.model);
  session.note_reading(checkpoint);
  if (verb.count("--length") != 0)
    refuse_longer_than_context(options.request.sampling.length, checkpoint.config().context);
  std::vector<CalibrationText> texts;
  for (NamedText& text : options.texts.read(checkpoint, session))
    texts.push_back({std::filesystem::path(text.name).filename().string(), std::move(text.text)});
  options.request.sampling.parse_special = options.texts.parse_special();
  OutputFile place(options.output);  // a place that cannot be written to shows before the work
  require_disk_space(options.output, statistics_bytes(checkpoint, options.request.collect));
  options.request.collect.kernels = session.kernels();
  options.request.collect.progress = session.progress();
  const auto start = std::chrono::steady_clock::now();
  const CalibrationResult result = calibrate_model(checkpoint, texts, options.request, session.machine());
  save_statistics(result.statistics, checkpoint, options.output);
  const double seconds = seconds_since(start);
  session.end_progress();
  for (const std::string& warning : result.warnings) session.note("warning: " + warning);
  if (session.json()) return session.print_json(json_of(result, options.output));
  const std::vector<ExpertTokens> experts = expert_tokens(result.statistics);
  session.print(table_of(result).text(session.style()) +
                (experts.empty() ? "" : "\n" + experts_table(experts).text(session.style())) +
                fmt::format("\n{} windows of {} tokens; peak: the strongest column over the median one\n{} in {}{}\n",
                            result.statistics.samples, result.statistics.length, options.output, duration_text(seconds),
                            result.warnings.empty() ? "; the text was enough" : ""));
}

}  // namespace

void add_walk(CLI::App& verb, WalkArithmetic& arithmetic) {
  verb.add_option_function<std::string>(
          "--walk", [&arithmetic](const std::string& spelling) { arithmetic = parse_walk_arithmetic(spelling); },
          "What calibration text is multiplied in on its way through the model: f32; int8, several times faster; auto: "
          "int8 for large models")
      ->default_str(std::string(walk_arithmetic_name(arithmetic)));
}

void add_hidden_states(CLI::App& verb, std::string& where) {
  verb.add_option("--hidden-states", where,
                  "Where those of the calibration text lie: memory; disk, in a file in the output's directory, where "
                  "the text is long for the "
                  "memory there is; the results are the same")
      ->capture_default_str();
}

std::filesystem::path spill_directory(const std::string& where, const std::filesystem::path& output) {
  if (where == "memory") return {};
  if (where != "disk")
    throw Error(ErrorKind::invalid_argument, fmt::format("hidden states lie in memory or on disk: '{}'", where));
  const std::filesystem::path parent = (output.has_filename() ? output : output.parent_path()).parent_path();
  return parent.empty() ? "." : parent;
}

void add_calibrate(CLI::App& app, Session& session) {
  const auto options = std::make_shared<Options>();
  CLI::App* const verb =
      app.add_subcommand("calibrate", "Walk text through a model and write down what its layers see");
  verb->footer(
      "Examples:\n"
      "  nibble calibrate models/fable-5M --text models/fable-5M/calibration.txt -o fable.stats.safetensors --full\n"
      "  nibble calibrate models/fable-5M --text a.txt --text b.txt -o imatrix.gguf --samples 0   llama.cpp's "
      "importance matrix, whole text\n"
      "  nibble quantize models/fable-5M -f q4_k --method gptq --stats fable.stats.safetensors -o fable.gguf");
  SamplingOptions& sampling = options->request.sampling;
  verb->add_option("model", options->model, "Hugging Face directory or .gguf")->required();
  add_text_files(*verb, "Text to walk through the model", options->texts);
  verb->add_option("-o,--output", options->output,
                   "OUT.gguf or OUT.dat: llama.cpp's importance matrix; any other name: statistics")
      ->required();
  verb->add_option("--samples", sampling.samples, "Windows of text, drawn without overlap; 0: all of the text")
      ->check(count_within(0, kMostWindows))
      ->capture_default_str();
  verb->add_option("--length", sampling.length, "Tokens in a window")
      ->check(count_within(1, kMostTokens))
      ->capture_default_str();
  verb->add_option("--seed", sampling.seed, "Which windows are drawn")->capture_default_str();
  verb->add_flag("--full", options->request.collect.second_moments,
                 "Whole second moments, which gptq and awq need: 4 x columns^2 bytes a site");
  add_walk(*verb, options->request.collect.arithmetic);
  add_hidden_states(*verb, options->hidden_states);
  session.add_force_text(*verb);
  session.add_json(*verb);
  session.add_threads(*verb);
  verb->callback([options, verb, &session] { calibrate(*verb, *options, session); });
}

}  // namespace nibble::cli
