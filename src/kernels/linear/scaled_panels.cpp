// SPDX-License-Identifier: Apache-2.0
//
// Weights with a scale of the whole tensor: products of those without it, multiplied behind each panel.
#include <algorithm>
#include <utility>

#include "kernels/kernel_table.h"
#include "kernels/linear/packed_weights.h"

namespace nibble {
namespace {

class ScaledPanels final : public PackedWeights {
 public:
  ScaledPanels(std::unique_ptr<PackedWeights> weights, float scale)
      : PackedWeights(weights->rows(), weights->cols(), weights->name() + " and a tensor scale"),
        weights_(std::move(weights)),
        scale_(scale) {}

  Arithmetic arithmetic() const noexcept override { return weights_->arithmetic(); }
  std::uint64_t resident_bytes() const noexcept override { return weights_->resident_bytes() + sizeof scale_; }
  void decode_row(std::uint64_t row, float* out) const override {
    weights_->decode_row(row, out);
    scale(out, static_cast<std::size_t>(cols_));
  }

  std::uint64_t preparation() const noexcept override { return weights_->preparation(); }
  std::uint64_t input_grid() const noexcept override { return weights_->input_grid(); }
  std::size_t shared_bytes(std::size_t tokens) const noexcept override { return weights_->shared_bytes(tokens); }
  std::size_t worker_bytes() const noexcept override { return weights_->worker_bytes(); }
  void prepare(const float* x, std::size_t tokens, ThreadPool& pool, std::byte* shared) const override {
    weights_->prepare(x, tokens, pool, shared);
  }
  void multiply_panel(std::size_t panel, const float* x, std::size_t tokens, float* y, std::byte* shared,
                      std::byte* worker) const override {
    weights_->multiply_panel(panel, x, tokens, y, shared, worker);
    const auto rows = static_cast<std::size_t>(rows_);
    const std::size_t first = panel * kPanelRows, width = std::min(kPanelRows, rows - first);
    for (std::size_t token = 0; token < tokens; ++token) scale(y + token * rows + first, width);
  }

 private:
  void scale(float* values, std::size_t count) const {
    for (std::size_t i = 0; i < count; ++i) values[i] *= scale_;
  }

  std::unique_ptr<PackedWeights> weights_;
  float scale_;
};

}  // namespace

std::unique_ptr<PackedWeights> pack_scaled_panels(std::unique_ptr<PackedWeights> weights, float scale) {
  return std::make_unique<ScaledPanels>(std::move(weights), scale);
}

}  // namespace nibble
