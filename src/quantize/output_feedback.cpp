// SPDX-License-Identifier: Apache-2.0
#include "quantize/output_feedback.h"

#include <algorithm>

#include "base/huge_pages.h"
#include "kernels/dense/dense.h"

namespace nibble {

OutputFeedback::OutputFeedback(std::span<const float> outputs, std::size_t rows, std::size_t together, bool moves_rows,
                               Machine& machine)
    : factor_(outputs, rows, {.act_order = moves_rows, .unit = 1, .block = together}, machine) {}

OutputFeedback::Targets::Targets(const OutputFeedback& feedback, std::span<const float> weights, std::size_t cols,
                                 Machine& machine)
    : factor_(feedback.factor_),
      weights_(weights),
      cols_(cols),
      machine_(machine),
      errors_(large_vector(weights.size())) {
  aim();
}

std::span<const std::uint32_t> OutputFeedback::Targets::rows() const {
  return std::span(factor_.order()).subspan(block_ * factor_.block(), factor_.block_cols(block_));
}

// What the errors before ask of the rows of a block together: of each, less what the rows before it in the block, which
// do their share, already bring about.
void OutputFeedback::Targets::aim() {
  if (is_done()) return;
  const std::span<const std::uint32_t> now = rows();
  const std::size_t width = now.size();
  targets_.assign(width * cols_, 0.0F);
  if (block_ > 0)
    add_outer_products(factor_.feedback(0, block_), errors_.data(), block_ * factor_.block(), width, cols_,
                       targets_.data(), machine_);
  const float* const within = factor_.feedback(block_, block_);  // [width, width]
  machine_.pool.parallel_for(cols_, 64, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t row = 1; row < width && block_ > 0; ++row)
      for (std::size_t before = 0; before < row; ++before) {
        const float share = within[before * width + row];
        for (std::size_t c = begin; c < end; ++c) targets_[row * cols_ + c] -= share * targets_[before * cols_ + c];
      }
    for (std::size_t row = 0; row < width; ++row)
      for (std::size_t c = begin; c < end; ++c) targets_[row * cols_ + c] += weights_[now[row] * cols_ + c];
  });
}

void OutputFeedback::Targets::advance(std::span<const float> stored) {
  const std::span<const std::uint32_t> now = rows();
  float* const errors = &errors_[block_ * factor_.block() * cols_];
  for (std::size_t i = 0; i < now.size(); ++i)
    for (std::size_t c = 0; c < cols_; ++c)
      errors[i * cols_ + c] = weights_[now[i] * cols_ + c] - stored[i * cols_ + c];
  ++block_;
  aim();
}

}  // namespace nibble
