// SPDX-License-Identifier: Apache-2.0
#include "report/verdict_json.h"

#include <cmath>

namespace nibble {

namespace {

const char* reason_text(Certainty certainty) {
  switch (certainty) {
    case Certainty::too_few_blocks:
      return "too few blocks";
    case Certainty::too_few_exceedances:
      return "too few exceedances";
    default:
      return "a maximum has none";
  }
}

const char* contest_text(Contest result) {
  switch (result) {
    case Contest::first_better:
      return "first";
    case Contest::second_better:
      return "second";
    case Contest::equal:
      return "equal";
    default:
      return "undecided";
  }
}

Json differences(const CandidateContest& contest) {
  return {{"kl_difference", to_json(contest.kl_difference)},
          {"perplexity_ratio", to_json(contest.perplexity_ratio)},
          {"top1_difference", to_json(contest.top1_difference)}};
}

void add_reading(Json& json, const PairedVerdict& verdict) {
  json["protocol"] = protocol_name(verdict.protocol);
  json["context"] = verdict.context;
  json["windows"] = verdict.windows;
  json["tokens"] = verdict.tokens_scored;
}

}  // namespace

Json to_json(const Figure& figure) {
  Json json = {{"value", figure.value}};
  if (!std::isnan(figure.gaussian_error)) json["stderr"] = figure.gaussian_error;
  if (figure.certainty == Certainty::interval) {
    json["low"] = figure.low;
    json["high"] = figure.high;
    json["lower_bound"] = figure.lower_bound;
    json["upper_bound"] = figure.upper_bound;
  } else {
    json["no_interval"] = reason_text(figure.certainty);
  }
  return json;
}

Json to_json(const MetricFigures& figures) {
  Json json;
  for (const MetricInfo& metric : list_metrics()) json[std::string(metric.key)] = to_json(figures[metric.id]);
  json["blocks"] = figures.blocks;
  json["windows_per_block"] = figures.windows_per_block;
  return json;
}

Json to_json(const Acceptance& acceptance) {
  const auto needed = [](std::uint64_t windows) { return windows > 0 ? Json(windows) : Json(nullptr); };
  Json json = {{"judgement", judgement_name(acceptance.judgement)}};
  if (acceptance.judgement == Judgement::undecided) json["windows_needed"] = needed(acceptance.windows_needed);
  json["requirements"] = Json::array();
  for (const RequirementResult& result : acceptance.results) {
    Json item = {{"rule", result.requirement.text},
                 {"metric", describe(result.requirement.metric).key},
                 {"of", result.requirement.of_weights ? "weights" : "as_run"},
                 {"judgement", judgement_name(result.judgement)},
                 {"figure", to_json(result.figure)}};
    if (result.judgement == Judgement::undecided) item["windows_needed"] = needed(result.windows_needed);
    json["requirements"].push_back(std::move(item));
  }
  return json;
}

Json to_json(const VerifiedQuantization& verified) {
  Json json = to_json(verified.summary);
  json["released"] = verified.released;
  json["verdict"] = to_json(verified.verdict);
  if (verified.acceptance) json["acceptance"] = to_json(*verified.acceptance);
  return json;
}

Json to_json(const BudgetedQuantization& budgeted) {
  Json json = to_json(budgeted.outcome);
  json["held_out"] = budgeted.held_out;
  const BudgetRound& kept = budgeted.rounds.at(budgeted.kept);
  json["expected"] = kept.expected_kl;
  json["measured"] = kept.kl.value;
  json["agrees"] = kept.agrees();
  json["mixes"] = Json::array();
  for (const MeasuredMix& mix : budgeted.mixes)
    json["mixes"].push_back(
        {{"name", mix.name}, {"solved", mix.is_solved}, {"tensor_bytes", mix.bytes}, {"expected_kl", mix.kl}});
  json["rounds"] = Json::array();
  for (const BudgetRound& round : budgeted.rounds) {
    json["rounds"].push_back({{"mostly", round.mostly},
                              {"bits_per_weight", round.bits_per_weight},
                              {"tensor_bytes", round.tensor_bytes},
                              {"output_bytes", round.output_bytes},
                              {"expected_kl", round.expected_kl},
                              {"kl", to_json(round.kl)},
                              {"agrees", round.agrees()},
                              {"accepted", round.accepted}});
    if (round.weights_kl) json["rounds"].back()["weights_kl"] = *round.weights_kl;
  }
  return json;
}

Json original_json(const PairedVerdict& verdict) {
  const Figure& p = verdict.original_perplexity;
  Json json = {{"perplexity", p.value}, {"perplexity_stderr", p.gaussian_error}};
  add_reading(json, verdict);
  if (p.certainty == Certainty::interval) {
    json["low"] = p.low;
    json["high"] = p.high;
  } else {
    json["no_interval"] = reason_text(p.certainty);
  }
  return json;
}

Json summary_json(const PairedVerdict& verdict, const CandidateVerdict& candidate) {
  const auto& f = candidate.overall;
  Json json = {{"perplexity", f[Metric::perplexity].value},
               {"perplexity_stderr", f[Metric::perplexity].gaussian_error}};
  add_reading(json, verdict);
  json["kl_mean"] = f[Metric::kl_mean].value;
  json["kl_stderr"] = f[Metric::kl_mean].gaussian_error;
  json["kl_p999"] = f[Metric::kl_p999].value;
  json["kl_max"] = f[Metric::kl_maximum].value;
  json["top1_agreement"] = f[Metric::top1_agreement].value;
  json["perplexity_ratio"] = f[Metric::perplexity_ratio].value;
  json["perplexity_ratio_stderr"] = f[Metric::perplexity_ratio].gaussian_error;
  return json;
}

Json texts_json(const PairedVerdict& verdict) {
  Json list = Json::array();
  for (const MeasuredText& text : verdict.texts) {
    Json item = {{"name", text.name},
                 {"windows", text.windows},
                 {"windows_planned", text.windows_planned},
                 {"tokens", text.tokens_scored}};
    if (text.windows > 0) item["original_perplexity"] = to_json(text.original_perplexity);
    list.push_back(std::move(item));
  }
  return list;
}

void add_layers(Json& json, const CandidateVerdict& candidate) {
  if (!candidate.layers) return;
  json["embedding_error"] = candidate.layers->embedding;
  json["layers"] = Json::array();
  for (std::size_t i = 0; i < candidate.layers->layers.size(); ++i) {
    const LayerError& error = candidate.layers->layers[i];
    json["layers"].push_back(
        {{"layer", i}, {"residual", error.residual}, {"output", error.output}, {"local", error.local}});
  }
}

void add_split(Json& json, const CandidateVerdict& candidate) {
  if (!candidate.split) return;
  const LossSplit& split = *candidate.split;
  json["split"] = {{"windows", split.windows},
                   {"same", split.same},
                   {"weights", to_json(split.weights)},
                   {"as_run", to_json(split.as_run)},
                   {"arithmetic", differences(split.arithmetic)}};
}

Json to_json(const PairedVerdict& verdict) {
  Json json =
      verdict.candidates.size() == 1 ? summary_json(verdict, verdict.candidates.front()) : original_json(verdict);
  json["windows_planned"] = verdict.windows_planned;
  json["partial"] = verdict.partial();
  json["left_out"] = verdict.left_out;
  if (!verdict.candidates.empty()) json["original"] = original_json(verdict);
  json["texts"] = texts_json(verdict);
  if (verdict.candidates.empty()) return json;
  json["candidates"] = Json::array();
  for (const CandidateVerdict& candidate : verdict.candidates) {
    Json item = {{"model", candidate.name}, {"figures", to_json(candidate.overall)}, {"texts", Json::array()}};
    for (const MetricFigures& text : candidate.texts) item["texts"].push_back(to_json(text));
    add_split(item, candidate);
    add_layers(item, candidate);
    json["candidates"].push_back(std::move(item));
  }
  json["contests"] = Json::array();
  for (const CandidateContest& contest : verdict.contests) {
    json["contests"].push_back(
        {{"first", contest.first}, {"second", contest.second}, {"better", contest_text(contest.result)}});
    json["contests"].back().update(differences(contest));
  }
  return json;
}

}  // namespace nibble
