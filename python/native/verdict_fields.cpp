// SPDX-License-Identifier: Apache-2.0
#include "verdict_fields.h"

#include <nanobind/stl/vector.h>

#include <cmath>

#include "text_caster.h"

namespace nibble::python {

namespace nb = nanobind;

namespace {

constexpr Choice<Certainty> kReasons[] = {{"too few blocks", Certainty::too_few_blocks},
                                          {"too few exceedances", Certainty::too_few_exceedances},
                                          {"a maximum has none", Certainty::none}};
constexpr Choice<Contest> kContests[] = {{"first", Contest::first_better},
                                         {"second", Contest::second_better},
                                         {"undecided", Contest::undecided},
                                         {"equal", Contest::equal}};
constexpr Choice<Judgement> kJudgements[] = {
    {"accepted", Judgement::accepted}, {"rejected", Judgement::rejected}, {"undecided", Judgement::undecided}};

Fields figures_of(const MetricFigures& figures) {
  Fields fields;
  for (std::size_t i = 0; i < kNumMetrics; ++i) {
    const auto metric = static_cast<Metric>(i);
    fields[nb::cast(describe_metric(metric).key)] = to_fields(figures[metric]);
  }
  fields["blocks"] = figures.blocks;
  fields["windows_per_block"] = figures.windows_per_block;
  return fields;
}

void add_differences(Fields& fields, const CandidateContest& contest) {
  fields["kl_difference"] = to_fields(contest.kl_difference);
  fields["perplexity_ratio"] = to_fields(contest.perplexity_ratio);
  fields["top1_difference"] = to_fields(contest.top1_difference);
}

Fields split_of(const LossSplit& split) {
  Fields fields, arithmetic;
  add_differences(arithmetic, split.arithmetic);
  fields["windows"] = split.windows;
  fields["same"] = split.same;
  fields["weights"] = figures_of(split.weights);
  fields["as_run"] = figures_of(split.as_run);
  fields["arithmetic"] = arithmetic;
  return fields;
}

nb::list layers_of(const LayerErrors& errors) {
  nb::list layers;
  for (std::size_t i = 0; i < errors.layers.size(); ++i) {
    Fields layer;
    layer["layer"] = i;
    layer["residual"] = errors.layers[i].residual;
    layer["output"] = errors.layers[i].output;
    layer["local"] = errors.layers[i].local;
    layers.append(layer);
  }
  return layers;
}

Fields candidate_fields(const CandidateVerdict& candidate) {
  Fields fields;
  fields["model"] = candidate.name;
  fields["figures"] = figures_of(candidate.overall);
  nb::list texts;
  for (const MetricFigures& text : candidate.texts) texts.append(figures_of(text));
  fields["texts"] = texts;
  if (candidate.split) fields["split"] = split_of(*candidate.split);
  if (candidate.layers) {
    fields["embedding_error"] = candidate.layers->embedding;
    fields["layers"] = layers_of(*candidate.layers);
  }
  return fields;
}

nb::list texts_of(const PairedVerdict& verdict) {
  nb::list texts;
  for (const MeasuredText& text : verdict.texts) {
    Fields fields;
    fields["name"] = text.name;
    fields["windows"] = text.windows;
    fields["windows_planned"] = text.windows_planned;
    fields["tokens"] = text.tokens_scored;
    if (text.windows > 0) fields["original_perplexity"] = to_fields(text.original_perplexity);
    texts.append(fields);
  }
  return texts;
}

nb::object windows_needed(std::uint64_t windows) { return windows > 0 ? nb::cast(windows) : nb::none(); }

}  // namespace

Fields to_fields(const Figure& figure) {
  Fields fields;
  fields["value"] = figure.value;
  if (!std::isnan(figure.gaussian_error)) fields["stderr"] = figure.gaussian_error;
  if (figure.certainty == Certainty::interval) {
    fields["low"] = figure.low;
    fields["high"] = figure.high;
    fields["lower_bound"] = figure.lower_bound;
    fields["upper_bound"] = figure.upper_bound;
  } else {
    fields["no_interval"] = spelling_of(figure.certainty, kReasons);
  }
  return fields;
}

Fields to_fields(const PairedVerdict& verdict) {
  Fields fields;
  fields["protocol"] = verdict.protocol == Protocol::paper ? "paper" : "llama.cpp";
  fields["context"] = verdict.context;
  fields["windows"] = verdict.windows;
  fields["windows_planned"] = verdict.windows_planned;
  fields["tokens"] = verdict.tokens_scored;
  fields["partial"] = verdict.partial();
  fields["left_out"] = verdict.left_out;
  fields["original_perplexity"] = to_fields(verdict.original_perplexity);
  fields["texts"] = texts_of(verdict);
  nb::list candidates, contests;
  for (const CandidateVerdict& candidate : verdict.candidates) candidates.append(candidate_fields(candidate));
  for (const CandidateContest& contest : verdict.contests) {
    Fields one;
    one["first"] = contest.first;
    one["second"] = contest.second;
    one["better"] = spelling_of(contest.result, kContests);
    add_differences(one, contest);
    contests.append(one);
  }
  fields["candidates"] = candidates;
  fields["contests"] = contests;
  return fields;
}

Fields to_fields(const Acceptance& acceptance) {
  Fields fields;
  fields["judgement"] = spelling_of(acceptance.judgement, kJudgements);
  if (acceptance.judgement == Judgement::undecided)
    fields["windows_needed"] = windows_needed(acceptance.windows_needed);
  nb::list requirements;
  for (const RequirementResult& result : acceptance.results) {
    Fields one;
    one["rule"] = result.requirement.text;
    one["metric"] = nb::cast(describe_metric(result.requirement.metric).key);
    one["of"] = result.requirement.of_weights ? "weights" : "as_run";
    one["judgement"] = spelling_of(result.judgement, kJudgements);
    one["figure"] = to_fields(result.figure);
    if (result.judgement == Judgement::undecided) one["windows_needed"] = windows_needed(result.windows_needed);
    requirements.append(one);
  }
  fields["requirements"] = requirements;
  return fields;
}

}  // namespace nibble::python
