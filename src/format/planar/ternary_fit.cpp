// SPDX-License-Identifier: Apache-2.0
#include "format/planar/ternary_fit.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <vector>

#include "format/planar/long_sum.h"

namespace nibble {
namespace {

// The ternary scale with the least squared error: for any scale the kept values are those above half of it, so the best
// kept set is a prefix of the values in falling order of magnitude; it maximises (sum w|x|)^2 / sum w.
float best_ternary_scale(const SpanValues& span) {
  // Magnitude and position in one number: sorted by falling magnitude, then rising position.
  std::vector<std::uint64_t> order(span.n);
  for (std::size_t i = 0; i < span.n; ++i)
    order[i] = (std::uint64_t{std::bit_cast<std::uint32_t>(std::fabs(span.x[i]))} << 32) | (0xffffffffu - i);
  std::sort(order.begin(), order.end(), std::greater<>());
  double sum_w = 0, sum_wx = 0, best = -1, scale = 0;
  for (const std::uint64_t key : order) {
    const double weight = static_cast<double>(span.weights[0xffffffffu - (key & 0xffffffffu)]);
    sum_w += weight;
    sum_wx += weight * static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(key >> 32)));
    if (!(sum_w > 0)) continue;
    const double mean = sum_wx / sum_w;
    if (mean * sum_wx > best) {
      best = mean * sum_wx;
      scale = mean;
    }
  }
  return static_cast<float>(scale);
}

double mean_magnitude(const SpanValues& span) {
  const double weights = long_sum(span.n, [&](std::size_t i) { return span.weights[i]; });
  return weights > 0 ? long_sum(span.n, [&](std::size_t i) { return span.weights[i] * std::fabs(span.x[i]); }) / weights
                     : 0;
}

double mean_magnitude(std::span<const float> x) {
  return long_sum(x.size(), [&](std::size_t i) { return std::fabs(x[i]); }) / static_cast<double>(x.size());
}

}  // namespace

PlanarGrid fit_ternary(const PlanarSpec& spec, const SpanValues& span, float peak, FitRule rule, ScaleUnit unit) {
  PlanarGrid grid{1, unit.base, 1, 0.5f, unit.offset};
  if (!(peak > 0)) return grid;
  const std::span<const float> x(span.x, span.n);
  float scale = peak, threshold = 0;
  if (rule == FitRule::automatic || rule == FitRule::search) {
    scale = best_ternary_scale(span);
    if (!(scale > 0)) scale = static_cast<float>(mean_magnitude(x));  // nothing of importance
  } else if (rule == FitRule::absmean) {
    scale = static_cast<float>(mean_magnitude(x));
  } else if (rule == FitRule::threshold) {
    threshold = static_cast<float>(0.7 * mean_magnitude(x));
    const auto kept = [&](std::size_t i) { return std::fabs(span.x[i]) > threshold; };
    const double count = long_sum(span.n, [&](std::size_t i) { return kept(i) ? 1.0f : 0.0f; });
    scale = static_cast<float>(long_sum(span.n, [&](std::size_t i) { return kept(i) ? std::fabs(span.x[i]) : 0.0f; }) /
                               count);
  }
  grid.scale = storable_scale(scale, spec.scale, unit);
  grid.threshold = rule == FitRule::threshold ? threshold : 0.5f * grid.scale;
  return grid;
}

PlanarGrid fit_binary(const PlanarSpec& spec, const SpanValues& span, ScaleUnit unit) {
  const double weighted = mean_magnitude(span), mean = weighted > 0 ? weighted : mean_magnitude({span.x, span.n});
  PlanarGrid grid{0, unit.base, 0, 0, unit.offset};
  if (mean > 0) grid.scale = storable_scale(static_cast<float>(mean), spec.scale, unit);
  return grid;
}

}  // namespace nibble
