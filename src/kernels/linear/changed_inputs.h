// SPDX-License-Identifier: Apache-2.0
//
// Weights of which only the inputs are others: each token's are changed once for a product, in front of what the
// weights' own form makes of them, and lie before it in what a product shares.
#pragma once

#include <algorithm>
#include <utility>

#include "kernels/linear/packed_weights.h"

namespace nibble {

class ChangedInputs : public PackedWeights {
 public:
  Arithmetic arithmetic() const noexcept final { return weights_->arithmetic(); }
  std::uint64_t preparation() const noexcept final { return weights_->preparation(); }
  std::uint64_t input_grid() const noexcept final { return weights_->input_grid(); }
  std::span<const std::uint32_t> input_order() const noexcept override { return weights_->input_order(); }
  const InputRotation* input_rotation() const noexcept override { return weights_->input_rotation(); }
  std::size_t shared_bytes(std::size_t tokens) const noexcept final {
    return changed_bytes(tokens) + weights_->shared_bytes(tokens);
  }
  std::size_t worker_bytes() const noexcept final { return weights_->worker_bytes(); }
  void prepare(const float* x, std::size_t tokens, ThreadPool& pool, std::byte* shared) const final {
    constexpr std::size_t kGrainElements = 16384;
    float* const changed = reinterpret_cast<float*>(shared);
    const std::size_t cols = cols_;
    pool.parallel_for(tokens, std::max<std::size_t>(1, kGrainElements / std::max<std::size_t>(1, cols)),
                      [&](std::size_t begin, std::size_t end, std::size_t) {
                        for (std::size_t t = begin; t < end; ++t) change(x + t * cols, changed + t * cols);
                      });
    weights_->prepare(changed, tokens, pool, shared + changed_bytes(tokens));
  }
  void multiply_panel(std::size_t panel, const float*, std::size_t tokens, float* y, std::byte* shared,
                      std::byte* worker) const final {
    weights_->multiply_panel(panel, reinterpret_cast<const float*>(shared), tokens, y, shared + changed_bytes(tokens),
                             worker);
  }

 protected:
  ChangedInputs(std::unique_ptr<PackedWeights> weights, const std::string& what)
      : PackedWeights(weights->rows(), weights->cols(), weights->name() + what), weights_(std::move(weights)) {}
  // One token's inputs, as many as there are columns; any thread's.
  virtual void change(const float* x, float* changed) const = 0;
  const PackedWeights& weights() const noexcept { return *weights_; }

 private:
  std::size_t changed_bytes(std::size_t tokens) const noexcept { return whole_lines(tokens * cols_ * sizeof(float)); }

  std::unique_ptr<PackedWeights> weights_;
};

}  // namespace nibble
