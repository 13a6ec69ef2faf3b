// SPDX-License-Identifier: Apache-2.0
//
// Learned tables: k-means in one dimension, weighted by importance (SqueezeLLM, Kim et al. 2023). Values are sorted
// once, so that an iteration costs one binary search per point.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "base/half.h"
#include "format/clip.h"
#include "format/planar/fit.h"
#include "format/scale.h"

namespace nibble {

namespace {

// Sorted values with prefix sums of w, w x and w x^2.
struct SortedSpan {
  std::vector<float> x;
  std::vector<double> w, wx, wxx;

  SortedSpan(std::span<const float> values, std::span<const float> importance) {
    std::vector<std::size_t> order(values.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return values[a] != values[b] ? values[a] < values[b] : a < b; });
    const bool weighted = std::any_of(importance.begin(), importance.end(), [](float weight) { return weight > 0; });
    w.push_back(0);
    wx.push_back(0);
    wxx.push_back(0);
    for (const std::size_t i : order) {
      const double value = static_cast<double>(values[i]), weight = weighted ? static_cast<double>(importance[i]) : 1.0;
      x.push_back(values[i]);
      w.push_back(w.back() + weight);
      wx.push_back(wx.back() + weight * value);
      wxx.push_back(wxx.back() + weight * value * value);
    }
  }
};

// Where each point's cell begins: the first value nearer to it than to its left neighbour.
std::vector<std::size_t> cells(const SortedSpan& span, const std::vector<double>& points) {
  std::vector<std::size_t> begin(points.size() + 1, 0);
  begin.back() = span.x.size();
  for (std::size_t k = 1; k < points.size(); ++k) {
    const float middle = static_cast<float>(0.5 * (points[k - 1] + points[k]));
    begin[k] = static_cast<std::size_t>(std::upper_bound(span.x.begin(), span.x.end(), middle) - span.x.begin());
  }
  return begin;
}

double cell_error(const SortedSpan& span, double point, std::size_t a, std::size_t b) {
  return (span.wxx[b] - span.wxx[a]) - 2 * point * (span.wx[b] - span.wx[a]) + point * point * (span.w[b] - span.w[a]);
}

double error_of(const SortedSpan& span, const std::vector<double>& points) {
  const auto begin = cells(span, points);
  double error = 0;
  for (std::size_t k = 0; k < points.size(); ++k) error += cell_error(span, points[k], begin[k], begin[k + 1]);
  return error;
}

// A point whose cell is empty moves to the far end of the cell with the largest error; false when there is none to
// improve.
bool revive_empty_cell(const SortedSpan& span, std::vector<double>& points, const std::vector<std::size_t>& begin) {
  std::size_t empty = points.size(), worst = 0;
  double worst_error = 0;
  for (std::size_t k = 0; k < points.size(); ++k) {
    if (!(span.w[begin[k + 1]] - span.w[begin[k]] > 0)) empty = k;
    const double error = cell_error(span, points[k], begin[k], begin[k + 1]);
    if (error > worst_error) {
      worst_error = error;
      worst = k;
    }
  }
  if (empty == points.size() || !(worst_error > 1e-12 * span.wxx.back())) return false;
  const double low = static_cast<double>(span.x[begin[worst]]),
               high = static_cast<double>(span.x[begin[worst + 1] - 1]);
  points[empty] = points[worst] - low > high - points[worst] ? low : high;
  return true;
}

// Lloyd's iterations (1957).
void improve(const SortedSpan& span, std::vector<double>& points) {
  for (int iteration = 0; iteration < 50; ++iteration) {
    const auto begin = cells(span, points);
    double moved = 0;
    for (std::size_t k = 0; k < points.size(); ++k) {
      const double weight = span.w[begin[k + 1]] - span.w[begin[k]];
      if (!(weight > 0)) continue;
      const double mean = (span.wx[begin[k + 1]] - span.wx[begin[k]]) / weight;
      moved = std::max(moved, std::fabs(mean - points[k]));
      points[k] = mean;
    }
    const bool revived = revive_empty_cell(span, points, begin);
    std::sort(points.begin(), points.end());
    if (!revived && !(moved > 1e-6 * (points.back() - points.front()))) break;
  }
}

float round_point(double point, ScaleType type) {
  const float value = static_cast<float>(point);
  if (type == ScaleType::f32) return value;
  if (type == ScaleType::bf16) return bf16_to_f32(f32_to_bf16(value));
  return f16_to_f32(to_f16_saturated(value));
}

}  // namespace

void fit_table(const PlanarSpec& spec, std::span<const float> x, std::span<const float> importance,
               const FitOptions& options, std::span<float> table) {
  const SortedSpan span(x, importance);
  const std::size_t num_points = table.size();
  double low = static_cast<double>(span.x.front()), high = static_cast<double>(span.x.back());
  if (is_clipping(options.rule)) {
    const double clip = static_cast<double>(clip_of(x, num_points / 2, options));
    low = std::max(low, -clip);
    high = std::min(high, clip);
  }
  std::vector<double> even(num_points);
  for (std::size_t k = 0; k < num_points; ++k)
    even[k] = low + (high - low) * static_cast<double>(k) / static_cast<double>(num_points - 1);

  std::vector<double> best = even;
  if (options.rule == FitRule::automatic || options.rule == FitRule::search) {
    // Starts: even spacing; quantiles of the weight; quantiles of the cube root of the density, which is what the best
    // points follow (Panter and Dite 1951), taken as half way between the two.
    std::vector<double> quantiles(num_points), mixed(num_points);
    for (std::size_t k = 0; k < num_points; ++k) {
      const double target = span.w.back() * (static_cast<double>(k) + 0.5) / static_cast<double>(num_points);
      const auto at = static_cast<std::size_t>(std::upper_bound(span.w.begin(), span.w.end(), target) - span.w.begin());
      quantiles[k] = static_cast<double>(span.x[std::clamp<std::size_t>(at, 1, span.x.size()) - 1]);
      mixed[k] = 0.5 * (quantiles[k] + even[k]);
    }
    double best_error = std::numeric_limits<double>::infinity();
    for (auto* points : {&even, &quantiles, &mixed}) {
      improve(span, *points);
      const double error = error_of(span, *points);
      if (error < best_error) {
        best_error = error;
        best = *points;
      }
    }
  }
  std::transform(best.begin(), best.end(), table.begin(), [&](double point) { return round_point(point, spec.scale); });
}

}  // namespace nibble
