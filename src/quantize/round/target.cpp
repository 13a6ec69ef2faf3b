// SPDX-License-Identifier: Apache-2.0
#include "quantize/round/target.h"

#include <cassert>

#include "kernels/dense.h"
#include "kernels/linear.h"

namespace nibble {

TargetSolver::TargetSolver(std::span<const float> second_moment, std::size_t cols, double damping, ThreadPool& pool, Isa isa)
    : cols_(cols), inverse_(cols * cols) {
  double mean = 0;
  for (std::size_t i = 0; i < cols; ++i) mean += static_cast<double>(second_moment[i * cols + i]) / static_cast<double>(cols);
  if (!(mean > 0)) mean = 1;
  std::vector<double> lower(cols * cols);
  KernelScratch scratch;
  for (double lambda = damping * mean;; lambda *= 2) {
    for (std::size_t i = 0; i < cols * cols; ++i) lower[i] = static_cast<double>(second_moment[i]);
    for (std::size_t i = 0; i < cols; ++i) lower[i * cols + i] += lambda;
    lambda_ = static_cast<float>(lambda);
    if (cholesky(lower.data(), cols, isa, pool, scratch) == cols) break;
  }
  invert_lower(lower.data(), cols, isa, pool, scratch);
  std::vector<double> transposed(cols * cols), product(cols * cols);
  for (std::size_t i = 0; i < cols; ++i)
    for (std::size_t j = 0; j < cols; ++j) transposed[i * cols + j] = lower[j * cols + i];
  gemm(transposed.data(), lower.data(), cols, cols, cols, product.data(), isa, pool, scratch);
  for (std::size_t i = 0; i < cols * cols; ++i) inverse_[i] = static_cast<float>(product[i]);
}

std::vector<float> TargetSolver::solve(std::span<const float> weights, std::span<const float> outputs, std::size_t rows, ThreadPool& pool,
                                       Isa isa) const {
  assert(weights.size() == rows * cols_ && outputs.size() == rows * cols_);
  std::vector<float> right(outputs.begin(), outputs.end()), result(rows * cols_);
  for (std::size_t i = 0; i < right.size(); ++i) right[i] += lambda_ * weights[i];
  KernelScratch scratch;
  gemm(right.data(), inverse_.data(), rows, cols_, cols_, result.data(), isa, pool, scratch);
  return result;
}

}  // namespace nibble
