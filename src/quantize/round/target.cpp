// SPDX-License-Identifier: Apache-2.0
#include "quantize/round/target.h"

#include <algorithm>
#include <cassert>
#include <memory>

#include "base/huge_pages.h"
#include "kernels/dense.h"
#include "kernels/linear.h"

namespace nibble {
namespace {

constexpr std::size_t kBlock = 256;  // columns solved for between two products

}  // namespace

TargetSolver::TargetSolver(std::span<const float> second_moment, std::size_t cols, double damping, ThreadPool& pool, Isa isa) : cols_(cols) {
  double mean = 0;
  for (std::size_t i = 0; i < cols; ++i) mean += static_cast<double>(second_moment[i * cols + i]) / static_cast<double>(cols);
  if (!(mean > 0)) mean = 1;
  const auto memory = std::make_unique_for_overwrite<double[]>(cols * cols);
  ask_for_huge_pages(memory.get(), cols * cols * sizeof(double));
  double* const lower = memory.get();
  KernelScratch scratch;
  for (double lambda = damping * mean;; lambda *= 2) {
    pool.parallel_for(cols, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t i = begin; i < end; ++i) {
        for (std::size_t j = 0; j <= i; ++j) lower[i * cols + j] = static_cast<double>(second_moment[i * cols + j]);
        lower[i * cols + i] += lambda;
      }
    });
    lambda_ = static_cast<float>(lambda);
    if (cholesky(lower, cols, isa, pool, scratch) == cols) break;
  }
  store_panels(lower, pool, isa);
}

std::size_t TargetSolver::num_blocks() const { return (cols_ + kBlock - 1) / kBlock; }
std::size_t TargetSolver::block_cols(std::size_t b) const { return std::min(kBlock, cols_ - b * kBlock); }

void TargetSolver::store_panels(const double* lower, ThreadPool& pool, Isa isa) {
  const std::size_t n = cols_;
  std::size_t forward_size = 0, backward_size = 0;
  for (std::size_t b = 0; b < num_blocks(); ++b) {
    forward_start_.push_back(forward_size);
    backward_start_.push_back(backward_size);
    forward_size += (b * kBlock + block_cols(b)) * block_cols(b);
    backward_size += (n - b * kBlock) * block_cols(b);
  }
  forward_ = ResidentBytes(forward_size * sizeof(float));
  backward_ = ResidentBytes(backward_size * sizeof(float));
  KernelScratch scratch;
  for (std::size_t b = 0; b < num_blocks(); ++b) {
    const std::size_t first = b * kBlock, width = block_cols(b), after = first + width;
    std::vector<double> own(width * width);
    for (std::size_t i = 0; i < width; ++i) std::copy_n(&lower[(first + i) * n + first], width, &own[i * width]);
    invert_lower(own.data(), width, isa, pool, scratch);
    float* const forward = forward_.as<float>(forward_start_[b] * sizeof(float));
    float* const backward = backward_.as<float>(backward_start_[b] * sizeof(float));
    pool.parallel_for(width, 8, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t i = begin; i < end; ++i) {
        for (std::size_t k = 0; k < first; ++k) forward[k * width + i] = static_cast<float>(-lower[(first + i) * n + k]);
        for (std::size_t k = 0; k < width; ++k) forward[(first + k) * width + i] = static_cast<float>(own[i * width + k]);
        for (std::size_t k = 0; k < width; ++k) backward[i * width + k] = static_cast<float>(own[i * width + k]);
      }
    });
    pool.parallel_for(n - after, 64, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t k = after + begin; k < after + end; ++k)
        for (std::size_t i = 0; i < width; ++i) backward[(k - first) * width + i] = static_cast<float>(-lower[k * n + first + i]);
    });
  }
}

std::vector<float> TargetSolver::solve(std::span<const float> weights, std::span<const float> outputs, std::size_t rows, ThreadPool& pool,
                                       Isa isa) const {
  assert(weights.size() == rows * cols_ && outputs.size() == rows * cols_);
  // Block after block, each [rows, columns of the block].
  std::vector<float> blocks = large_vector(rows * cols_), right;
  const auto block = [&](std::size_t b) { return &blocks[b * kBlock * rows]; };
  const auto for_rows = [&](auto&& act) {
    pool.parallel_for(rows, 64, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t row = begin; row < end; ++row)
        for (std::size_t b = 0; b < num_blocks(); ++b) act(row * cols_ + b * kBlock, block(b) + row * block_cols(b), block_cols(b));
    });
  };
  for_rows([&](std::size_t at, float* own, std::size_t width) {
    for (std::size_t i = 0; i < width; ++i) own[i] = outputs[at + i] + lambda_ * weights[at + i];
  });
  KernelScratch scratch;
  const auto substitute = [&](std::size_t b, std::size_t from, std::size_t to, const float* panels) {
    const std::size_t width = block_cols(b), base = from * kBlock;
    for (std::size_t k = from; k < to; ++k)
      if (k != b) gemm(block(k), &panels[(k * kBlock - base) * width], rows, width, block_cols(k), block(b), isa, pool, scratch);
    right.assign(block(b), block(b) + rows * width);
    std::fill_n(block(b), rows * width, 0.0F);
    gemm(right.data(), &panels[(b * kBlock - base) * width], rows, width, width, block(b), isa, pool, scratch);
  };
  for (std::size_t b = 0; b < num_blocks(); ++b) substitute(b, 0, b + 1, forward(b));
  for (std::size_t b = num_blocks(); b-- > 0;) substitute(b, b, num_blocks(), backward(b));
  std::vector<float> result = large_vector(rows * cols_);
  for_rows([&](std::size_t at, const float* own, std::size_t width) { std::copy_n(own, width, &result[at]); });
  return result;
}

}  // namespace nibble
