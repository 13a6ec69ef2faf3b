// SPDX-License-Identifier: Apache-2.0
#include "evaluate/acceptance.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "nibble/error.h"

namespace nibble {

namespace {

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::string known_names() {
  std::string names;
  for (const MetricInfo& metric : list_metrics())
    if (!metric.accept.empty()) names += (names.empty() ? "" : ", ") + std::string(metric.accept);
  return names + "; with _weights behind it (kl_weights) the same of the weights alone";
}

Requirement parse_requirement(std::string_view text) {
  Requirement requirement;
  requirement.text = text;
  const std::size_t sign = text.find_first_of("<>");
  if (sign == text.npos || sign + 1 >= text.size() || text[sign + 1] != '=')
    throw Error(ErrorKind::invalid_argument,
                fmt::format("a requirement is written NAME<=NUMBER or NAME>=NUMBER, as in kl<=0.02: '{}'", text));
  requirement.limit = text[sign] == '<' ? Limit::at_most : Limit::at_least;
  std::string_view name = trimmed(text.substr(0, sign));
  const std::string_view asked = name, number = trimmed(text.substr(sign + 2));
  constexpr std::string_view kOfWeights = "_weights";
  requirement.of_weights = name.ends_with(kOfWeights);
  if (requirement.of_weights) name.remove_suffix(kOfWeights.size());
  const auto metrics = list_metrics();
  const auto metric =
      std::ranges::find_if(metrics, [&](const MetricInfo& m) { return !m.accept.empty() && m.accept == name; });
  if (metric == metrics.end())
    throw Error(ErrorKind::invalid_argument,
                fmt::format("nothing called '{}' can be required; known are {}", asked, known_names()));
  requirement.metric = metric->id;
  const bool is_floor = requirement.limit == Limit::at_least;
  if (metric->better == (is_floor ? Better::lower : Better::higher))
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{} is the better the {} it is; a requirement is {}{}NUMBER: '{}'", asked,
                            is_floor ? "smaller" : "larger", asked, is_floor ? "<=" : ">=", text));
  const auto [end, failure] = std::from_chars(number.data(), number.data() + number.size(), requirement.value);
  if (failure != std::errc() || end != number.data() + number.size() || !std::isfinite(requirement.value))
    throw Error(ErrorKind::invalid_argument, fmt::format("the limit of a requirement must be a number: '{}'", text));
  return requirement;
}

// Blocks that would bring the bound on the limit's side to the limit: its distance shrinks with the root of their
// number. A tenth more, because the value moves as well.
std::uint64_t windows_needed(const RequirementResult& result, std::uint64_t per_window, const MetricFigures& figures) {
  const Figure& figure = result.figure;
  const MetricInfo& metric = describe(result.requirement.metric);
  std::uint64_t least = kFewestBlocks * figures.windows_per_block;
  if (metric.kind == MetricKind::quantile)
    least = std::max(
        least, static_cast<std::uint64_t>(std::ceil(kFewestExceedances / std::min(metric.share, 1 - metric.share))) /
                       per_window +
                   1);
  if (figure.certainty != Certainty::interval) return std::max(least, result.windows_read + 1);
  const double distance = std::fabs(result.requirement.value - figure.value);
  const double reach =
      result.requirement.value > figure.value ? figure.upper_bound - figure.value : figure.value - figure.lower_bound;
  const double times = 1.1 * (reach / distance) * (reach / distance);
  if (!(times < 1e4)) return 0;
  return std::max(result.windows_read + 1,
                  static_cast<std::uint64_t>(std::ceil(times * static_cast<double>(result.windows_read))));
}

Judgement judge_figure(const Requirement& requirement, const Figure& figure) {
  if (figure.certainty != Certainty::interval) return Judgement::undecided;
  const bool at_most = requirement.limit == Limit::at_most;
  if (at_most ? figure.upper_bound <= requirement.value : figure.lower_bound >= requirement.value)
    return Judgement::accepted;
  if (at_most ? figure.lower_bound > requirement.value : figure.upper_bound < requirement.value)
    return Judgement::rejected;
  return Judgement::undecided;
}

}  // namespace

std::string_view judgement_name(Judgement judgement) {
  return judgement == Judgement::accepted ? "accepted" : judgement == Judgement::rejected ? "rejected" : "undecided";
}

std::vector<Requirement> parse_requirements(std::string_view text) {
  std::vector<Requirement> requirements;
  for (;;) {
    const std::size_t comma = text.find(',');
    if (const std::string_view item = trimmed(text.substr(0, comma)); !item.empty())
      requirements.push_back(parse_requirement(item));
    if (comma == text.npos) break;
    text.remove_prefix(comma + 1);
  }
  if (requirements.empty())
    throw Error(
        ErrorKind::invalid_argument,
        "nothing is required; name at least one limit, as in \"kl<=0.02, top1>=0.97\"; known are " + known_names());
  return requirements;
}

bool judge_weights(const std::vector<Requirement>& requirements) {
  return std::ranges::any_of(requirements, &Requirement::of_weights);
}

Acceptance accept(const PairedVerdict& verdict, std::size_t candidate, const std::vector<Requirement>& requirements) {
  const CandidateVerdict& judged = verdict.candidates[candidate];
  if (judge_weights(requirements) && !judged.split)
    throw Error(ErrorKind::invalid_argument,
                "the weights alone can be judged only where the loss is split into theirs and the arithmetic's, for "
                "which windows are read with products in f32, too; ask for some (split_windows): " +
                    judged.name);
  Acceptance acceptance;
  acceptance.judgement = Judgement::accepted;
  bool told = true;
  for (const Requirement& requirement : requirements) {
    const MetricFigures& figures = requirement.of_weights ? judged.split->weights : judged.overall;
    const std::uint64_t windows = requirement.of_weights ? judged.split->windows : verdict.windows;
    RequirementResult result{requirement, Judgement::undecided, figures[requirement.metric], windows, 0};
    result.judgement = judge_figure(requirement, result.figure);
    if (result.judgement == Judgement::undecided) {
      result.windows_needed = windows_needed(result, verdict.tokens_scored / verdict.windows, figures);
      told = told && result.windows_needed > 0;
      acceptance.windows_needed = std::max(acceptance.windows_needed, result.windows_needed);
      if (acceptance.judgement == Judgement::accepted) acceptance.judgement = Judgement::undecided;
    } else if (result.judgement == Judgement::rejected) {
      acceptance.judgement = Judgement::rejected;
    }
    acceptance.results.push_back(std::move(result));
  }
  if (!told || acceptance.judgement != Judgement::undecided) acceptance.windows_needed = 0;
  return acceptance;
}

}  // namespace nibble
