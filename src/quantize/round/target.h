// SPDX-License-Identifier: Apache-2.0
//
// What a Linear should aim at when its inputs have changed. The layers before it are quantized already: it reads x' where the original
// reads x, and should still give y. The weights nearest to its own (in the damped sense) that do so on average:
//
//   W* = (E[y x'^T] + lambda W) (E[x' x'^T] + lambda I)^-1
//
// With y = W x this is the target of GPTAQ (Li et al. 2025); where the output is added to a residual stream, y may include what that
// stream has lost so far.
#pragma once

#include <span>
#include <vector>

#include "base/cpu.h"
#include "base/thread_pool.h"

namespace nibble {

// Shared by all Linears of a site. Immutable after construction.
class TargetSolver {
 public:
  // second_moment: E[x' x'^T], [cols, cols]; lambda = damping * its mean diagonal.
  TargetSolver(std::span<const float> second_moment, std::size_t cols, double damping, ThreadPool& pool, Isa isa);
  // weights: [rows, cols]; outputs: E[y x'^T], [rows, cols]. Returns W*.
  std::vector<float> solve(std::span<const float> weights, std::span<const float> outputs, std::size_t rows, ThreadPool& pool, Isa isa) const;

 private:
  std::size_t cols_;
  float lambda_ = 0;
  std::vector<float> inverse_;
};

}  // namespace nibble
