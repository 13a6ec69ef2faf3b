// SPDX-License-Identifier: Apache-2.0
//
// The cheapest path of a tile through a bitshift trellis, by dynamic programming (Viterbi 1967). Internal to format/.
//
// A tile is a ring of kTrellisTile symbols with `code_bits` bits each. The state of a symbol is the window of
// `state_bits` bits of the ring that begins with the symbol's own; what it stands for is states' value. So neighbours
// share bits, and few bits a symbol name many values: Tseng et al. 2024 (QTIP), sections 3.1 and 3.2, of whose
// tail-biting this is the plain form: a first pass over the symbols around the ring's seam finds the bits that cross
// it, a second one the path that has them on both sides.
//
//   PathSearch search({.state_bits = 8, .code_bits = 2}, values, plain_path_steps());
//   search.run(targets, weights, codes);
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "format/trellis/path_steps.h"
#include "format/trellis/trellis_shape.h"

namespace nibble {

// Reused from tile to tile; one thread at a time.
class PathSearch {
 public:
  // values: of each state, outlives this. steps: of any instruction set.
  PathSearch(const TrellisShape& shape, std::span<const float> values, const PathSteps& steps);

  // targets, weights: one for each symbol, finite, weights not negative. codes [kTrellisTile]: the symbols' own bits.
  // Least sum of weight * (target - value)^2 over the paths that the seam's bits leave.
  void run(const float* targets, const float* weights, std::uint8_t* codes);

 private:
  // Symbols from `first` down, `steps` of them, around the ring; seam: the bits behind the first and of the last, or
  // none. The state of each step.
  void search(const float* targets, const float* weights, std::size_t first, std::size_t steps,
              const std::size_t* seam);

  TrellisShape shape_;
  std::span<const float> values_;
  void (*step_)(const PathStep& step);
  std::vector<float> best_, next_;
  std::vector<std::uint8_t> from_;  // [steps, groups]: which of a group's states the path came through
  std::vector<std::uint32_t> path_;
};

}  // namespace nibble
