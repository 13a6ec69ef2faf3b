// SPDX-License-Identifier: Apache-2.0
//
// The steps of path searches over format/lanes.h.
#pragma once

#include <utility>

#include "format/lanes.h"
#include "format/trellis/path_steps.h"

namespace nibble {
namespace {

template <unsigned kShift, int... kLane>
[[gnu::always_inline]] inline Vector shuffle_down(Vector vector, std::integer_sequence<int, kLane...>) {
  return __builtin_shufflevector(vector, vector, (kLane >> kShift)...);
}
// Lane l: from[l >> kShift].
template <unsigned kShift>
[[gnu::always_inline]] inline Vector load_repeated(const float* from) {
  if constexpr ((1u << kShift) >= kWidth)
    return splat(*from);
  else
    return shuffle_down<kShift>(load(from), std::make_integer_sequence<int, static_cast<int>(kWidth)>());
}

// The costs of kWidth states from s on.
template <unsigned kCodeBits>
[[gnu::always_inline]] inline Vector path_costs(const PathStep& step, std::size_t s) {
  const Vector difference = splat(step.target) - load(step.values + s);
  return load_repeated<kCodeBits>(step.best + (s >> kCodeBits)) + difference * difference * splat(step.weight);
}

// Fewer groups than lanes.
template <unsigned kCodeBits>
void take_short_step(const PathStep& step) {
  constexpr std::size_t kMostGroups = kLanes, kHeads = std::size_t{1} << kCodeBits;
  float costs[kMostGroups * kHeads];
  for (std::size_t s = 0; s < step.groups * kHeads; s += kWidth) store(costs + s, path_costs<kCodeBits>(step, s));
  for (std::size_t g = 0; g < step.groups; ++g) {
    std::size_t least = 0;
    for (std::size_t j = 1; j < kHeads; ++j)
      if (costs[j * step.groups + g] < costs[least * step.groups + g]) least = j;
    step.next[g] = costs[least * step.groups + g];
    step.from[g] = static_cast<std::uint8_t>(least);
  }
}

template <unsigned kCodeBits>
void take_path_step(const PathStep& step) {
  if (step.groups < kLanes) return take_short_step<kCodeBits>(step);
  for (std::size_t g = 0; g < step.groups; g += kLanes) {
    Lanes least, which;
    for (std::size_t i = 0; i < kVectors; ++i) {
      least[i] = path_costs<kCodeBits>(step, g + i * kWidth);
      which[i] = Vector{};
    }
    for (std::size_t j = 1; j < std::size_t{1} << kCodeBits; ++j)
      for (std::size_t i = 0; i < kVectors; ++i) {
        const Vector cost = path_costs<kCodeBits>(step, j * step.groups + g + i * kWidth);
        const auto is_less = cost < least[i];
        least[i] = is_less ? cost : least[i];
        which[i] = is_less ? splat(static_cast<float>(j)) : which[i];
      }
    store(step.next + g, least);
    store_bytes(step.from + g, which);
  }
}

constexpr PathSteps kPathSteps = {
    {take_path_step<1>, take_path_step<2>, take_path_step<3>, take_path_step<4>, take_path_step<5>, take_path_step<6>}};

}  // namespace
}  // namespace nibble
