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
#include "kernels/resident_bytes.h"

namespace nibble {

// The matrix is factored once in f64, L L^T; each Linear is then two triangular systems, in f32 and in blocks of columns. Shared by all
// Linears of a site. Immutable after construction.
class TargetSolver {
 public:
  // second_moment: E[x' x'^T], [cols, cols]; lambda = damping * its mean diagonal.
  TargetSolver(std::span<const float> second_moment, std::size_t cols, double damping, ThreadPool& pool, Isa isa);
  // weights: [rows, cols]; outputs: E[y x'^T], [rows, cols]. Returns W*.
  std::vector<float> solve(std::span<const float> weights, std::span<const float> outputs, std::size_t rows, ThreadPool& pool, Isa isa) const;

 private:
  std::size_t num_blocks() const;
  std::size_t block_cols(std::size_t b) const;
  void store_panels(const double* lower, ThreadPool& pool, Isa isa);
  const float* forward(std::size_t b) const { return forward_.as<float>(forward_start_[b] * sizeof(float)); }
  const float* backward(std::size_t b) const { return backward_.as<float>(backward_start_[b] * sizeof(float)); }

  std::size_t cols_;
  float lambda_ = 0;
  // Panels of L by block of columns j. forward(j): -L_jk^T for k < j, then L_jj^-T. backward(j): L_jj^-1, then -L_kj for k > j.
  ResidentBytes forward_, backward_;
  std::vector<std::size_t> forward_start_, backward_start_;
};

}  // namespace nibble
