// SPDX-License-Identifier: Apache-2.0
//
// The step of a path search that takes its time (path_search.h). format/ has it for any processor, kernels/ once more
// for each instruction set, with the same bits. Functions neither throw nor allocate.
//
//   const PathSteps& steps = plain_path_steps();
//   steps.take[shape.code_bits - 1]({best, values, shape.groups(), target, weight, next, from});  // one symbol back
#pragma once

#include <cstddef>
#include <cstdint>

namespace nibble {

// From a symbol to the one before it in the ring. Of S states, S >> code bits groups:
//   cost[s] = best[s >> code bits] + weight * (target - values[s])^2
//   next[g] = the least cost[j * groups + g], from[g] = its j, the first of equals
struct PathStep {
  const float* best;    // [groups], and kPastGroups behind them that may be read
  const float* values;  // [S]
  std::size_t groups;
  float target, weight;
  float* next;         // [groups]
  std::uint8_t* from;  // [groups]
};
inline constexpr std::size_t kPastGroups = 16;

struct PathSteps {
  void (*take[6])(const PathStep& step);  // by code bits less one
};

const PathSteps& plain_path_steps();

}  // namespace nibble
