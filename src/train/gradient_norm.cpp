// SPDX-License-Identifier: Apache-2.0
#include "train/gradient_norm.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace nibble {
namespace {

constexpr std::size_t kRun = 4096, kLanes = 8;

double sum_of_squares(std::span<const float> values) {
  double lanes[kLanes] = {};
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes)
    for (std::size_t j = 0; j < kLanes; ++j) {
      const auto value = static_cast<double>(values[i + j]);
      lanes[j] += value * value;
    }
  for (; i < values.size(); ++i) {
    const auto value = static_cast<double>(values[i]);
    lanes[0] += value * value;
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  return sum;
}

}  // namespace

double gradient_norm(std::span<const Parameter> parameters, ThreadPool& pool) {
  double total = 0;
  std::vector<double> runs;
  for (const Parameter& parameter : parameters) {
    const std::span<const float> gradient = parameter.gradient;
    runs.assign((gradient.size() + kRun - 1) / kRun, 0.0);
    pool.parallel_for(runs.size(), 16, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t run = begin; run < end; ++run)
        runs[run] = sum_of_squares(gradient.subspan(run * kRun, std::min(kRun, gradient.size() - run * kRun)));
    });
    for (const double run : runs) total += run;
  }
  return std::sqrt(total);
}

double clip_factor(double norm, double longest) {
  if (longest == 0 || norm <= longest) return 1;
  return longest / norm;
}

}  // namespace nibble
