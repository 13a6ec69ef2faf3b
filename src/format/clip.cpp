// SPDX-License-Identifier: Apache-2.0
#include "format/clip.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace nibble {

namespace {

float largest_magnitude(std::span<const float> x) {
  float amax = 0;
  for (const float value : x) amax = std::max(amax, std::fabs(value));
  return amax;
}

// KL(P || Q): P is the histogram cut at `end` with what lies beyond in its last bin; Q is the cut histogram without
// that, averaged over num_levels runs of bins, spread evenly over the bins of a run that are not empty in P.
double divergence(const std::vector<double>& histogram, std::size_t end, std::size_t num_levels) {
  double total = 0, beyond = 0;
  for (std::size_t i = 0; i < histogram.size(); ++i) {
    total += histogram[i];
    if (i >= end) beyond += histogram[i];
  }
  const double kept = total - beyond;
  if (!(kept > 0)) return std::numeric_limits<double>::infinity();
  double sum = 0;
  for (std::size_t level = 0; level < num_levels; ++level) {
    const std::size_t begin = level * end / num_levels, stop = (level + 1) * end / num_levels;
    double mass = 0, present = 0;
    for (std::size_t i = begin; i < stop; ++i) {
      mass += histogram[i];
      const double p = histogram[i] + (i + 1 == end ? beyond : 0);
      present += p > 0 ? 1 : 0;
    }
    for (std::size_t i = begin; i < stop; ++i) {
      const double p = (histogram[i] + (i + 1 == end ? beyond : 0)) / total;
      if (!(p > 0)) continue;
      const double q = std::max(mass / present / kept, 1e-12);
      sum += p * std::log(p / q);
    }
  }
  return sum;
}

}  // namespace

float percentile_clip(std::span<const float> x, double percentile) {
  if (x.empty()) return 0;
  if (!(percentile < 100)) return largest_magnitude(x);
  std::vector<float> magnitudes(x.size());
  std::transform(x.begin(), x.end(), magnitudes.begin(), [](float value) { return std::fabs(value); });
  const double rank = std::max(percentile, 0.0) / 100 * static_cast<double>(x.size() - 1);
  const auto below = static_cast<std::ptrdiff_t>(rank);
  std::nth_element(magnitudes.begin(), magnitudes.begin() + below, magnitudes.end());
  const double low = static_cast<double>(magnitudes[static_cast<std::size_t>(below)]);
  if (static_cast<std::size_t>(below) + 1 == x.size()) return static_cast<float>(low);
  const double high = static_cast<double>(*std::min_element(magnitudes.begin() + below + 1, magnitudes.end()));
  return static_cast<float>(low + (rank - static_cast<double>(below)) * (high - low));
}

std::size_t entropy_cut(const std::vector<double>& histogram, std::size_t num_levels) {
  const std::size_t num_bins = histogram.size();
  if (num_levels == 0 || num_bins < num_levels) return num_bins;
  // 128 cuts resolve the threshold to 0.8 % of the range.
  const std::size_t step = std::max<std::size_t>(1, num_bins / 128);
  std::size_t best_end = num_bins;
  double best = divergence(histogram, num_bins, num_levels);
  for (std::size_t end = num_bins - step; end >= std::max(step, num_levels) && end < num_bins; end -= step) {
    const double candidate = divergence(histogram, end, num_levels);
    if (candidate < best) {
      best = candidate;
      best_end = end;
    }
  }
  return best_end;
}

float entropy_clip(std::span<const float> x, std::size_t num_levels) {
  const float amax = largest_magnitude(x);
  const std::size_t num_bins = std::min<std::size_t>(2048, x.size());
  if (num_levels == 0 || num_bins < 4 * num_levels || !(amax > 0)) return amax;
  std::vector<double> histogram(num_bins, 0.0);
  for (const float value : x) {
    const auto bin = static_cast<std::size_t>(std::fabs(static_cast<double>(value)) / static_cast<double>(amax) *
                                              static_cast<double>(num_bins));
    histogram[std::min(bin, num_bins - 1)] += 1;
  }
  const std::size_t end = entropy_cut(histogram, num_levels);
  return static_cast<float>(static_cast<double>(amax) * static_cast<double>(end) / static_cast<double>(num_bins));
}

float clip_of(std::span<const float> group, std::size_t num_levels, const FitOptions& options) {
  if (options.rule == FitRule::percentile) return percentile_clip(group, options.percentile);
  const float largest = largest_magnitude(group);
  return options.row_clip > 0 ? std::min(options.row_clip, largest) : entropy_clip(group, num_levels);
}

FitOptions clip_for_row(std::span<const float> row, std::size_t num_levels, const FitOptions& options) {
  FitOptions result = options;
  if (options.rule == FitRule::entropy && options.row_clip == 0) result.row_clip = entropy_clip(row, num_levels);
  return result;
}

}  // namespace nibble
