// SPDX-License-Identifier: Apache-2.0
#include "nibble/evaluate.h"

#include "pipeline/api/model_state.h"
#include "pipeline/judge/judge_models.h"

namespace nibble {
namespace {

Interval interval_of(const Figure& figure) {
  if (figure.certainty != Certainty::interval) return {};
  return {true, figure.low, figure.high};
}

PerplexityResult result_of(const PairedVerdict& verdict, const Figure& perplexity) {
  return {perplexity.value,
          perplexity.gaussian_error,
          interval_of(perplexity),
          verdict.tokens_scored,
          verdict.windows,
          verdict.context,
          std::string(protocol_name(verdict.protocol))};
}

JudgeOptions judge_options(const EvaluateRequest& request) {
  JudgeOptions options;
  options.windows = {parse_protocol(request.protocol), request.context, request.max_windows};
  options.progress = request.progress;
  return options;
}

}  // namespace

PerplexityResult evaluate(const Model& model, std::string_view text, const EvaluateRequest& request) {
  Machine machine = make_machine(request.machine);
  const PairedVerdict verdict =
      judge_models(model.state().checkpoint, {}, {{"the text", std::string(text)}}, judge_options(request), machine);
  return result_of(verdict, verdict.original_perplexity);
}

Verdict evaluate_against(const Model& candidate, const Model& original, std::string_view text,
                         const EvaluateRequest& request) {
  Machine machine = make_machine(request.machine);
  const PairedVerdict paired =
      judge_models(original.state().checkpoint, {{"the candidate", &candidate.state().checkpoint}},
                   {{"the text", std::string(text)}}, judge_options(request), machine);
  const MetricFigures& figures = paired.candidates.front().overall;
  const auto value = [&](Metric metric) { return figures[metric].value; };
  const auto interval = [&](Metric metric) { return interval_of(figures[metric]); };
  return {result_of(paired, figures[Metric::perplexity]),
          result_of(paired, paired.original_perplexity),
          value(Metric::kl_mean),
          value(Metric::kl_p999),
          value(Metric::top1_agreement),
          value(Metric::perplexity_ratio),
          interval(Metric::kl_mean),
          interval(Metric::kl_p999),
          interval(Metric::top1_agreement),
          interval(Metric::perplexity_ratio)};
}

}  // namespace nibble
