// SPDX-License-Identifier: Apache-2.0
//
// With the moment N M N^T, N upper triangular with blocks of identity for its units and M its units' metrics, X = B (N
// M N^T)^-1 comes from Z N^T = B, last block first, and X N = Z M^-1, first block first. What is solved for is kept
// with its sign turned: sums then only add.
#include "quantize/round/target.h"

#include <algorithm>
#include <cassert>

#include "base/huge_pages.h"
#include "kernels/dense/dense.h"
#include "kernels/linear/linear.h"

namespace nibble {
namespace {

// result[j, i] = from[i, j] for from: [rows, cols].
void transpose(const float* from, std::size_t rows, std::size_t cols, std::vector<float>& result) {
  result.resize(rows * cols);
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < cols; ++j) result[j * rows + i] = from[i * cols + j];
}

class TargetSystem {
 public:
  TargetSystem(const FeedbackFactor& factor, std::size_t rows, Machine& machine)
      : factor_(factor), rows_(rows), machine_(machine), blocks_(large_vector(rows * factor.cols())) {}

  // act(place of (row, column) in a matrix [rows, cols], its number here).
  template <class F>
  void for_numbers(F act) {
    machine_.pool.parallel_for(rows_, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t b = 0; b < factor_.num_blocks(); ++b)
        for (std::size_t row = begin; row < end; ++row)
          for (std::size_t p = 0; p < factor_.block_cols(b); ++p) {
            const std::uint32_t column = factor_.order()[b * factor_.block() + p];
            act(row * factor_.cols() + column, column, block(b)[row * factor_.block_cols(b) + p]);
          }
    });
  }

  void solve() {
    for (std::size_t b = factor_.num_blocks(); b-- > 0;) {
      for (std::size_t k = b + 1; k < factor_.num_blocks(); ++k) {
        transpose(factor_.feedback(b, k), factor_.block_cols(b), factor_.block_cols(k), right_);
        add(k, right_.data(), b);
      }
      apply(negative_inverse_transposed(b), b);
    }
    for (std::size_t b = 0; b < factor_.num_blocks(); ++b) apply(negative_inverse_metrics(b), b);
    for (std::size_t b = 0; b < factor_.num_blocks(); ++b) {
      for (std::size_t k = 0; k < b; ++k) add(k, factor_.feedback(k, b), b);
      transpose(negative_inverse_transposed(b).data(), factor_.block_cols(b), factor_.block_cols(b), right_);
      apply(right_, b);
    }
  }

 private:
  // [rows, columns of the block]
  float* block(std::size_t b) { return &blocks_[b * factor_.block() * rows_]; }

  // Block b += block k times right.
  void add(std::size_t k, const float* right, std::size_t b) {
    gemm(block(k), right, rows_, factor_.block_cols(b), factor_.block_cols(k), block(b), machine_);
  }

  // Block b is replaced by its product.
  void apply(const std::vector<float>& right, std::size_t b) {
    const std::size_t width = factor_.block_cols(b);
    left_.assign(block(b), block(b) + rows_ * width);
    std::fill_n(block(b), rows_ * width, 0.0F);
    gemm(left_.data(), right.data(), rows_, width, width, block(b), machine_);
  }

  // - N_bb^-T
  const std::vector<float>& negative_inverse_transposed(std::size_t b) {
    const std::size_t width = factor_.block_cols(b);
    const float* const own = factor_.feedback(b, b);
    lower_.assign(width * width, 0);
    for (std::size_t i = 0; i < width; ++i) {
      lower_[i * width + i] = 1;
      for (std::size_t j = 0; j < i; ++j) lower_[i * width + j] = static_cast<double>(own[j * width + i]);
    }
    invert_lower(lower_.data(), width, machine_);
    negative_.resize(lower_.size());
    for (std::size_t i = 0; i < lower_.size(); ++i) negative_[i] = static_cast<float>(-lower_[i]);
    return negative_;
  }

  // - M_bb^-1
  const std::vector<float>& negative_inverse_metrics(std::size_t b) {
    const std::size_t width = factor_.block_cols(b), unit = factor_.unit();
    negative_.assign(width * width, 0);
    for (std::size_t p = 0; p < width; p += unit) {
      const float* const own = factor_.inverse_metric(b * factor_.block() + p);
      for (std::size_t i = 0; i < unit; ++i)
        for (std::size_t j = 0; j < unit; ++j) negative_[(p + i) * width + p + j] = -own[i * unit + j];
    }
    return negative_;
  }

  const FeedbackFactor& factor_;
  std::size_t rows_;
  Machine& machine_;
  std::vector<float> blocks_, left_, right_, negative_;
  std::vector<double> lower_;
};

}  // namespace

std::vector<float> solve_target(const FeedbackFactor& factor, std::span<const float> weights,
                                std::span<const float> outputs, std::size_t rows, Machine& machine) {
  assert(weights.size() == rows * factor.cols() && outputs.size() == weights.size());
  TargetSystem system(factor, rows, machine);
  system.for_numbers([&](std::size_t at, std::uint32_t column, float& value) {
    value = outputs[at] + factor.added()[column] * weights[at];
  });
  system.solve();
  std::vector<float> result = large_vector(weights.size());
  system.for_numbers([&](std::size_t at, std::uint32_t, float& value) { result[at] = -value; });
  return result;
}

}  // namespace nibble
