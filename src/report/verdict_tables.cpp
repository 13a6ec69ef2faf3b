// SPDX-License-Identifier: Apache-2.0
#include "report/verdict_tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <optional>

#include "report/number_text.h"

namespace nibble {

namespace {

constexpr Metric kShortList[] = {Metric::perplexity_ratio, Metric::kl_mean, Metric::kl_p999, Metric::top1_agreement};

std::string rendered(const Table& table, const VerdictTextOptions& options) {
  return options.markdown ? table.markdown() : table.text(options.style);
}

std::string error_text(const MetricInfo& metric, const Figure& figure) {
  if (std::isnan(figure.gaussian_error)) return "";
  if (metric.unit == MetricUnit::share || metric.unit == MetricUnit::change)
    return "± " + percent_text(figure.gaussian_error, 2);
  return "± " + significant_text(figure.gaussian_error, 2);
}

Table metric_table(const PairedVerdict& verdict, const MetricFigures& figures) {
  Table table(
      {{""}, {"value", Align::right}, {"95 % interval", Align::right}, {"if tokens were independent", Align::right}});
  for (const MetricInfo& metric : list_metrics()) {
    const Figure& figure = figures[metric.id];
    table.add({std::string(metric.title), figure_value_text(metric, figure.value), interval_text(metric, figure),
               error_text(metric, figure)});
    if (metric.id != Metric::perplexity) continue;
    const Figure& original = verdict.original_perplexity;
    table.add({"original's", figure_value_text(metric, original.value), interval_text(metric, original),
               error_text(metric, original)});
  }
  return table;
}

Table candidate_table(const PairedVerdict& verdict) {
  std::vector<Column> columns = {{"model"}, {"perplexity", Align::right}};
  for (const Metric metric : kShortList) columns.push_back({std::string(describe(metric).title), Align::right});
  const bool split =
      std::ranges::any_of(verdict.candidates, [](const CandidateVerdict& c) { return c.split.has_value(); });
  if (split) columns.push_back({"weights' KL", Align::right});
  Table table(columns);
  for (const CandidateVerdict& candidate : verdict.candidates) {
    std::vector<std::string> row = {
        candidate.name, figure_value_text(describe(Metric::perplexity), candidate.overall[Metric::perplexity].value)};
    for (const Metric metric : kShortList) row.push_back(figure_text(describe(metric), candidate.overall[metric]));
    if (split) row.push_back(weights_loss_text(candidate));
    table.add(row);
  }
  return table;
}

Table text_table(const PairedVerdict& verdict) {
  std::vector<Column> columns = {{"text"}, {"windows", Align::right}, {"original's perplexity", Align::right}};
  const bool several = verdict.candidates.size() > 1;
  if (several)
    for (const CandidateVerdict& candidate : verdict.candidates)
      columns.push_back({"KL mean, " + candidate.name, Align::right});
  else if (!verdict.candidates.empty())
    for (const Metric metric : kShortList) columns.push_back({std::string(describe(metric).title), Align::right});
  Table table(columns);
  for (std::size_t i = 0; i < verdict.texts.size(); ++i) {
    const MeasuredText& text = verdict.texts[i];
    std::vector<std::string> row = {text.name, grouped_text(text.windows)};
    if (text.windows > 0) row.push_back(figure_text(describe(Metric::perplexity), text.original_perplexity));
    for (const CandidateVerdict& candidate : verdict.candidates) {
      if (i >= candidate.texts.size()) continue;
      if (several)
        row.push_back(figure_text(describe(Metric::kl_mean), candidate.texts[i][Metric::kl_mean]));
      else
        for (const Metric metric : kShortList) row.push_back(figure_text(describe(metric), candidate.texts[i][metric]));
    }
    table.add(row);
  }
  return table;
}

struct LayerMeasure {
  double LayerError::* error;
  const char* title;
  bool has_embedding;
};
constexpr LayerMeasure kLayerMeasures[] = {{&LayerError::residual, "residual stream", true},
                                           {&LayerError::output, "what the layer adds", false},
                                           {&LayerError::local, "the layer alone", false}};

std::string error_value(double error) { return error == 0 ? "0" : significant_text(error, 3); }

// A row for the embedding, if there is something to say about it, and one for each layer.
Table layer_table(std::size_t layers, bool embedding, const std::vector<std::string>& columns,
                  const std::function<std::string(std::size_t column, std::optional<std::size_t> layer)>& cell) {
  std::vector<Column> heads = {{"layer"}};
  for (const std::string& column : columns) heads.push_back({column, Align::right});
  Table table(heads);
  const auto add = [&](std::string name, std::optional<std::size_t> layer) {
    std::vector<std::string> row = {std::move(name)};
    for (std::size_t column = 0; column < columns.size(); ++column) row.push_back(cell(column, layer));
    table.add(row);
  };
  if (embedding) add("embedding", std::nullopt);
  for (std::size_t layer = 0; layer < layers; ++layer) add(std::to_string(layer), layer);
  return table;
}

std::string error_of(const LayerErrors& errors, const LayerMeasure& measure, std::optional<std::size_t> layer) {
  if (layer) return error_value(errors.layers[*layer].*measure.error);
  return measure.has_embedding ? error_value(errors.embedding) : "";
}

std::string contest_line(const CandidateContest& contest) {
  const MetricInfo& kl = describe(Metric::kl_mean);
  const std::string difference = "mean KL differs by " + figure_text(kl, contest.kl_difference);
  const std::string ratio =
      "perplexity ratio " + figure_text(describe(Metric::perplexity_ratio), contest.perplexity_ratio);
  switch (contest.result) {
    case Contest::first_better:
      return fmt::format("{} is better than {}: {}, {}\n", contest.first, contest.second, difference, ratio);
    case Contest::second_better:
      return fmt::format("{} is better than {}: {}, {}\n", contest.second, contest.first, difference, ratio);
    case Contest::equal:
      return fmt::format("{} and {} predict the same everywhere\n", contest.first, contest.second);
    case Contest::undecided:
      break;
  }
  if (contest.kl_difference.certainty == Certainty::too_few_blocks)
    return fmt::format("{} or {}: too few windows to decide; read at least {}: {}, {}\n", contest.first, contest.second,
                       kFewestBlocks, difference, ratio);
  return fmt::format("neither {} nor {} is shown to be better: {}, {}\n", contest.first, contest.second, difference,
                     ratio);
}

// Of a single candidate.
std::string split_line(const PairedVerdict& verdict) {
  const std::optional<LossSplit>& split = verdict.candidates.front().split;
  if (!split) return "";
  if (split->same)
    return "\nThe loss is the weights' alone: products are in f32, and keys and values are kept as the original's.\n";
  const MetricInfo& kl = describe(Metric::kl_mean);
  return fmt::format("\nLoss, KL mean: weights {}, as run {}; arithmetic adds {}.\n",
                     figure_text(kl, split->weights[kl.id]), figure_text(kl, split->as_run[kl.id]),
                     figure_text(kl, split->arithmetic.kl_difference)) +
         split_note(verdict);
}

std::string block_line(const MetricFigures& figures) {
  if (figures.blocks < kFewestBlocks)
    return fmt::format("No intervals: {} windows are too few to know how windows differ; at least {} are needed.\n",
                       figures.blocks, kFewestBlocks);
  return fmt::format("Intervals: 95 %, by a bootstrap over {} blocks of {}.\n", figures.blocks,
                     figures.windows_per_block == 1
                         ? "one window"
                         : fmt::format("{} windows, whose neighbours are correlated", figures.windows_per_block));
}

}  // namespace

std::string figure_value_text(const MetricInfo& metric, double value) {
  switch (metric.unit) {
    case MetricUnit::plain:
      return fixed_text(value, 4);
    case MetricUnit::ratio:
      return fixed_text(value, 5);
    case MetricUnit::nats:
      return significant_text(value, 4);
    case MetricUnit::share:
      return percent_text(value, 2);
    case MetricUnit::change:
      return metric.id == Metric::probability_rms ? percent_text(value, 3) : signed_percent_text(value, 3);
  }
  return {};
}

std::string interval_text(const MetricInfo& metric, const Figure& figure) {
  switch (figure.certainty) {
    case Certainty::interval:
      return figure_value_text(metric, figure.low) + " – " + figure_value_text(metric, figure.high);
    case Certainty::too_few_blocks:
      return "too few";
    case Certainty::too_few_exceedances:
      return "too few beyond it";
    case Certainty::none:
      break;
  }
  return "";
}

std::string figure_text(const MetricInfo& metric, const Figure& figure) {
  const std::string value = figure_value_text(metric, figure.value);
  if (figure.certainty != Certainty::interval) return value;
  return fmt::format("{} [{}, {}]", value, figure_value_text(metric, figure.low),
                     figure_value_text(metric, figure.high));
}

std::string weights_loss_text(const CandidateVerdict& candidate) {
  if (!candidate.split) return "";
  if (candidate.split->same) return "all of it";
  const MetricInfo& kl = describe(Metric::kl_mean);
  return fmt::format("{} of {}", figure_value_text(kl, candidate.split->weights[kl.id].value),
                     figure_value_text(kl, candidate.split->as_run[kl.id].value));
}

std::string split_note(const PairedVerdict& verdict) {
  const auto read_twice = [](const CandidateVerdict& candidate) { return candidate.split && !candidate.split->same; };
  const auto candidate = std::ranges::find_if(verdict.candidates, read_twice);
  if (candidate == verdict.candidates.end()) return "";
  return fmt::format(
      "The weights' KL: of the same weights in products of f32, keys and values kept as the original's, on {} of the "
      "{} windows.\n",
      grouped_text(candidate->split->windows), grouped_text(verdict.windows));
}

std::string coverage_text(const PairedVerdict& verdict) {
  std::string text =
      fmt::format("Protocol {}: {} windows of {} tokens, {} tokens scored.\n", protocol_name(verdict.protocol),
                  grouped_text(verdict.windows), verdict.context, grouped_text(verdict.tokens_scored));
  if (verdict.windows < verdict.windows_planned) {
    text += fmt::format("Stopped early: these figures cover {} of {} windows", grouped_text(verdict.windows),
                        grouped_text(verdict.windows_planned));
    for (const MeasuredText& missing : verdict.texts)
      if (missing.windows < missing.windows_planned)
        text += fmt::format("; {}: {} of {}", missing.name, missing.windows, missing.windows_planned);
    text += ".\n";
  }
  if (!verdict.left_out.empty()) text += left_out_text(verdict.left_out);
  return text;
}

std::string left_out_text(const std::vector<std::string>& names) {
  std::string list;
  for (const std::string& name : names) list += (list.empty() ? "" : ", ") + name;
  return "Stopped before these were measured: " + list + ".\n";
}

std::string acceptance_text(const Acceptance& acceptance, const PairedVerdict& verdict, const std::string& name,
                            const VerdictTextOptions& options) {
  std::string text =
      fmt::format("\n{} is {} (each bound holds with 95 %).\n", name, judgement_name(acceptance.judgement)) +
      (options.markdown ? "\n" : "");
  for (const RequirementResult& result : acceptance.results) {
    const MetricInfo& metric = describe(result.requirement.metric);
    const bool at_most = result.requirement.limit == Limit::at_most;
    text += fmt::format("{}{}: {}", options.markdown ? "* " : "  ", result.requirement.text,
                        judgement_name(result.judgement));
    if (result.figure.certainty == Certainty::interval && result.judgement != Judgement::undecided) {
      const bool shows_upper = at_most == (result.judgement == Judgement::accepted);
      text +=
          fmt::format(", it is {} {}", shows_upper ? "at most" : "at least",
                      figure_value_text(metric, shows_upper ? result.figure.upper_bound : result.figure.lower_bound));
    } else if (result.figure.certainty == Certainty::interval) {
      text += fmt::format(", it may be {} to {}", figure_value_text(metric, result.figure.lower_bound),
                          figure_value_text(metric, result.figure.upper_bound));
    } else {
      text += fmt::format(", its bounds are unknown: {}", interval_text(metric, result.figure));
    }
    if (result.judgement == Judgement::undecided)
      text +=
          result.windows_needed > 0
              ? fmt::format("; about {} windows ({} tokens of text{}) would decide, {} were read",
                            grouped_text(result.windows_needed), grouped_text(result.windows_needed * verdict.context),
                            result.requirement.of_weights ? ", --split" : "", grouped_text(result.windows_read))
              : "; it is too close to the limit for any reasonable amount of text";
    text += "\n";
  }
  return options.style.unicode || options.markdown ? text : to_ascii(text);
}

std::string layers_text(const PairedVerdict& verdict, const VerdictTextOptions& options) {
  const auto& candidates = verdict.candidates;
  if (candidates.empty() ||
      !std::ranges::all_of(candidates, [](const CandidateVerdict& c) { return c.layers.has_value(); }))
    return "";
  const std::size_t layers = candidates.front().layers->layers.size();
  std::string text = options.markdown ? "\n### Layer by layer\n\n" : "\nLayer by layer. ";
  text +=
      "Errors are relative to the original's size (Frobenius norms, scored positions). The layer alone: given the "
      "original's input.\n";
  std::vector<std::string> names;
  if (candidates.size() == 1) {
    for (const LayerMeasure& measure : kLayerMeasures) names.emplace_back(measure.title);
    const LayerErrors& errors = *candidates.front().layers;
    return text + "\n" +
           rendered(layer_table(layers, true, names,
                                [&](std::size_t column, std::optional<std::size_t> layer) {
                                  return error_of(errors, kLayerMeasures[column], layer);
                                }),
                    options);
  }
  for (const CandidateVerdict& candidate : candidates) names.push_back(candidate.name);
  for (const LayerMeasure& measure : kLayerMeasures) {
    text += fmt::format("\nError of {}{}\n", measure.title, options.markdown ? ":\n" : "");
    text += rendered(layer_table(layers, measure.has_embedding, names,
                                 [&](std::size_t column, std::optional<std::size_t> layer) {
                                   return error_of(*candidates[column].layers, measure, layer);
                                 }),
                     options);
  }
  return text;
}

std::string verdict_text(const PairedVerdict& verdict, const VerdictTextOptions& options) {
  std::string text = coverage_text(verdict);
  const std::string gap = "\n";
  if (verdict.candidates.empty()) {
    const MetricInfo& metric = describe(Metric::perplexity);
    const Figure& p = verdict.original_perplexity;
    text += fmt::format("perplexity   {:.4f} ± {:.4f}", p.value, p.gaussian_error);
    text += p.certainty == Certainty::interval ? fmt::format(", 95 % interval {}\n", interval_text(metric, p)) : "\n";
    if (verdict.texts.size() > 1) text += gap + rendered(text_table(verdict), options);
  } else {
    const bool several = verdict.candidates.size() > 1;
    if (options.markdown) {
      const std::string against = options.original.empty() ? "the original" : "`" + options.original + "`";
      text = fmt::format("## Quality against {}\n\n", against) + text;
    }
    if (several)
      text += fmt::format("Original's perplexity {}.\n",
                          figure_text(describe(Metric::perplexity), verdict.original_perplexity));
    text += block_line(verdict.candidates.front().overall) + gap;
    text += rendered(several ? candidate_table(verdict) : metric_table(verdict, verdict.candidates.front().overall),
                     options);
    if (!several)
      text += split_line(verdict);
    else if (const std::string note = split_note(verdict); !note.empty())
      text += gap + note;
    if (verdict.texts.size() > 1) text += gap + rendered(text_table(verdict), options);
    if (!verdict.contests.empty()) text += gap;
    for (const CandidateContest& contest : verdict.contests)
      text += (options.markdown ? "* " : "") + contest_line(contest);
    text += layers_text(verdict, options);
  }
  return options.style.unicode || options.markdown ? text : to_ascii(text);
}

}  // namespace nibble
