// SPDX-License-Identifier: Apache-2.0
#include "evaluate/metrics.h"

namespace nibble {

namespace {

using enum Metric;
using enum MetricUnit;
using enum MetricKind;

constexpr std::array<MetricInfo, kNumMetrics> kMetrics = {{
    {perplexity, "perplexity", "ppl", "perplexity", "of the model on this text", plain, Better::lower, mean},
    {perplexity_ratio, "perplexity_ratio", "ppl_ratio", "ratio", "the model's perplexity over the original's", ratio,
     Better::lower, mean},
    {kl_mean, "kl_mean", "kl", "KL mean", "KL(original || model) of a position, in nats", nats, Better::lower, mean},
    {kl_median, "kl_p50", "kl_p50", "KL median", "half of the positions lie below", nats, Better::lower, quantile, 0.5},
    {kl_p99, "kl_p99", "kl_p99", "KL 99 %", "99 % of the positions lie below", nats, Better::lower, quantile, 0.99},
    {kl_p999, "kl_p999", "kl_p999", "KL 99.9 %", "99.9 % of the positions lie below", nats, Better::lower, quantile,
     0.999},
    {kl_maximum, "kl_max", "", "KL maximum", "the worst position seen", nats, Better::lower, maximum, 1},
    {top1_agreement, "top1_agreement", "top1", "same top-1", "both models put the same token first", share,
     Better::higher, mean},
    {top5_agreement, "top5_agreement", "top5", "same top-5",
     "share of the original's five most probable tokens that are among the model's five", share, Better::higher, mean},
    {flips_to_wrong, "flips_to_wrong", "flips_to_wrong", "flips to wrong",
     "the original puts the right token first, the model does not", share, Better::lower, mean},
    {flips_to_right, "flips_to_right", "flips_to_right", "flips to right",
     "the model puts the right token first, the original does not", share, Better::higher, mean},
    {probability_rms, "probability_rms", "p_rms", "RMS change of p",
     "root mean square change of the right token's probability", change, Better::lower, mean},
    {probability_mean, "probability_mean", "p_mean", "mean change of p", "mean change of the right token's probability",
     change, Better::neither, mean},
    {probability_p01, "probability_p01", "p_p01", "change of p, 1 %", "one position in a hundred loses more", change,
     Better::neither, quantile, 0.01},
    {probability_p05, "probability_p05", "p_p05", "change of p, 5 %", "one position in twenty loses more", change,
     Better::neither, quantile, 0.05},
    {probability_p25, "probability_p25", "p_p25", "change of p, 25 %", "a quarter of the positions loses more", change,
     Better::neither, quantile, 0.25},
    {probability_p50, "probability_p50", "p_p50", "change of p, median", "half of the positions lie below", change,
     Better::neither, quantile, 0.5},
    {probability_p75, "probability_p75", "p_p75", "change of p, 75 %", "a quarter of the positions gains more", change,
     Better::neither, quantile, 0.75},
    {probability_p95, "probability_p95", "p_p95", "change of p, 95 %", "one position in twenty gains more", change,
     Better::neither, quantile, 0.95},
    {probability_p99, "probability_p99", "p_p99", "change of p, 99 %", "one position in a hundred gains more", change,
     Better::neither, quantile, 0.99},
}};

constexpr bool in_order() {
  for (std::size_t i = 0; i < kNumMetrics; ++i)
    if (static_cast<std::size_t>(kMetrics[i].id) != i) return false;
  return true;
}
static_assert(in_order());

}  // namespace

std::span<const MetricInfo, kNumMetrics> list_metrics() { return kMetrics; }

const MetricInfo& describe(Metric metric) { return kMetrics[static_cast<std::size_t>(metric)]; }

}  // namespace nibble
