// SPDX-License-Identifier: Apache-2.0
#include "format/trellis/path_search.h"

#include <algorithm>
#include <array>
#include <limits>

namespace nibble {
namespace {

constexpr std::size_t kAroundSeam = 64;  // symbols on either side of it: many times what a window spans

// cost[s] = best[s >> K] + weight * (target - values[s])^2
template <unsigned K>
void add_symbol(const float* best, const float* values, std::size_t groups, float target, float weight, float* cost) {
  for (std::size_t g = 0; g < groups; ++g)
    for (std::size_t b = 0; b < (std::size_t{1} << K); ++b) {
      const float difference = target - values[(g << K) + b];
      cost[(g << K) + b] = best[g] + difference * difference * weight;
    }
}

// best[g] = the least cost[j * groups + g], from[g] = its j, the first of equals.
template <unsigned K>
void choose_states(const float* cost, std::size_t groups, float* best, std::uint8_t* from) {
  constexpr std::size_t kRun = 16;
  std::size_t g = 0;
  for (; g + kRun <= groups; g += kRun) {
    float least[kRun];
    std::int32_t which[kRun];
    for (std::size_t i = 0; i < kRun; ++i) {
      least[i] = cost[g + i];
      which[i] = 0;
    }
    for (std::int32_t j = 1; j < (1 << K); ++j) {
      const float* const other = cost + static_cast<std::size_t>(j) * groups + g;
      for (std::size_t i = 0; i < kRun; ++i) {
        const bool is_less = other[i] < least[i];
        least[i] = is_less ? other[i] : least[i];
        which[i] = is_less ? j : which[i];
      }
    }
    for (std::size_t i = 0; i < kRun; ++i) {
      best[g + i] = least[i];
      from[g + i] = static_cast<std::uint8_t>(which[i]);
    }
  }
  for (; g < groups; ++g) {
    std::size_t least = 0;
    for (std::size_t j = 1; j < (std::size_t{1} << K); ++j)
      if (cost[j * groups + g] < cost[least * groups + g]) least = j;
    best[g] = cost[least * groups + g];
    from[g] = static_cast<std::uint8_t>(least);
  }
}

struct Steps {
  decltype(&add_symbol<1>) add;
  decltype(&choose_states<1>) choose;
};
constexpr std::array<Steps, 6> kSteps = {{{add_symbol<1>, choose_states<1>},
                                          {add_symbol<2>, choose_states<2>},
                                          {add_symbol<3>, choose_states<3>},
                                          {add_symbol<4>, choose_states<4>},
                                          {add_symbol<5>, choose_states<5>},
                                          {add_symbol<6>, choose_states<6>}}};

}  // namespace

PathSearch::PathSearch(const TrellisShape& shape, std::span<const float> values)
    : shape_(shape),
      values_(values),
      cost_(shape.states()),
      best_(shape.groups()),
      from_(kTrellisTile * shape.groups()),
      path_(kTrellisTile) {}

void PathSearch::search(const float* targets, const float* weights, std::size_t first, std::size_t steps,
                        const std::size_t* seam) {
  const std::size_t groups = shape_.groups();
  const Steps& loops = kSteps[shape_.code_bits - 1];
  const auto symbol = [&](std::size_t step) { return (first + kTrellisTile - step) % kTrellisTile; };
  std::fill(best_.begin(), best_.end(), seam != nullptr ? std::numeric_limits<float>::infinity() : 0.0F);
  if (seam != nullptr) best_[*seam] = 0;
  for (std::size_t step = 0; step < steps; ++step) {
    if (step > 0) loops.choose(cost_.data(), groups, best_.data(), &from_[step * groups]);
    loops.add(best_.data(), values_.data(), groups, targets[symbol(step)], weights[symbol(step)], cost_.data());
  }
  std::size_t last = seam != nullptr ? *seam : 0;
  const std::size_t stride = seam != nullptr ? groups : 1;
  for (std::size_t s = last; s < shape_.states(); s += stride)
    if (cost_[s] < cost_[last]) last = s;
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
