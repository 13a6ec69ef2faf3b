// SPDX-License-Identifier: Apache-2.0
#include "pipeline/net/score_ranks.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace nibble {

std::vector<double> ranks_of(std::span<const double> scores) {
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) { return scores[i]; });
  std::vector<double> ranks(scores.size());
  for (std::size_t first = 0, end = 0; first < order.size(); first = end) {
    while (end < order.size() && scores[order[end]] == scores[order[first]]) ++end;
    for (std::size_t i = first; i < end; ++i) ranks[order[i]] = static_cast<double>(first + 1 + end) / 2;
  }
  return ranks;
}

std::optional<double> area_under_curve(std::span<const double> scores, std::span<const std::int64_t> labels) {
  const std::vector<double> ranks = ranks_of(scores);
  double sum = 0, ones = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] != 0 && labels[i] != 1) return std::nullopt;
    if (labels[i] == 0) continue;
    sum += ranks[i];
    ++ones;
  }
  const double zeros = static_cast<double>(labels.size()) - ones;
  if (ones == 0 || zeros == 0) return std::nullopt;
  return (sum - ones * (ones + 1) / 2) / (ones * zeros);
}

std::optional<double> rank_correlation(std::span<const double> a, std::span<const double> b) {
  const std::vector<double> of_a = ranks_of(a), of_b = ranks_of(b);
  const double mean = (static_cast<double>(a.size()) + 1) / 2;
  double both = 0, square_a = 0, square_b = 0;
  for (std::size_t i = 0; i < of_a.size(); ++i) {
    both += (of_a[i] - mean) * (of_b[i] - mean);
    square_a += (of_a[i] - mean) * (of_a[i] - mean);
    square_b += (of_b[i] - mean) * (of_b[i] - mean);
  }
  if (square_a == 0 || square_b == 0) return std::nullopt;
  return both / std::sqrt(square_a * square_b);
}

}  // namespace nibble
