// SPDX-License-Identifier: Apache-2.0
#include "format/trellis/path_search.h"

#include <algorithm>
#include <limits>

#include "format/trellis/path_lanes.h"

namespace nibble {
namespace {

constexpr std::size_t kAroundSeam = 64;  // symbols on either side of it: many times what a window spans

}  // namespace

const PathSteps& plain_path_steps() { return kPathSteps; }

PathSearch::PathSearch(const TrellisShape& shape, std::span<const float> values, const PathSteps& steps)
    : shape_(shape),
      values_(values),
      step_(steps.take[shape.code_bits - 1]),
      best_(shape.groups() + kPastGroups),
      next_(best_.size()),
      from_(kTrellisTile * shape.groups()),
      path_(kTrellisTile) {}

void PathSearch::search(const float* targets, const float* weights, std::size_t first, std::size_t steps,
                        const std::size_t* seam) {
  const std::size_t groups = shape_.groups();
  const auto symbol = [&](std::size_t step) { return (first + kTrellisTile - step) % kTrellisTile; };
  std::fill(best_.begin(), best_.end(), seam != nullptr ? std::numeric_limits<float>::infinity() : 0.0F);
  if (seam != nullptr) best_[*seam] = 0;
  for (std::size_t step = 1; step < steps; ++step) {
    const std::size_t at = symbol(step - 1);
    step_({best_.data(), values_.data(), groups, targets[at], weights[at], next_.data(), &from_[step * groups]});
    best_.swap(next_);
  }
  const std::size_t end = symbol(steps - 1);
  const auto cost = [&](std::size_t state) {
    const float difference = targets[end] - values_[state];
    return best_[state >> shape_.code_bits] + difference * difference * weights[end];
  };
  std::size_t last = seam != nullptr ? *seam : 0;
  const std::size_t stride = seam != nullptr ? groups : 1;
  for (std::size_t s = last; s < shape_.states(); s += stride)
    if (cost(s) < cost(last)) last = s;
  for (std::size_t step = steps; step-- > 0;) {
    path_[step] = static_cast<std::uint32_t>(last);
    const std::size_t group = last >> shape_.code_bits;
    if (step > 0) last = from_[step * groups + group] * groups + group;
  }
}

void PathSearch::run(const float* targets, const float* weights, std::uint8_t* codes) {
  search(targets, weights, kAroundSeam - 1, 2 * kAroundSeam, nullptr);
  const std::size_t seam = path_[kAroundSeam - 1] & (shape_.groups() - 1);
  search(targets, weights, kTrellisTile - 1, kTrellisTile, &seam);
  for (std::size_t i = 0; i < kTrellisTile; ++i)
    codes[i] = static_cast<std::uint8_t>(path_[kTrellisTile - 1 - i] & ((1u << shape_.code_bits) - 1));
}

}  // namespace nibble
