// SPDX-License-Identifier: Apache-2.0
//
// Weights that are made for inputs T x: inputs are rotated once for each product, in front of what the weights' own
// form makes of them. Products of one call that rotate alike share them.
#include <algorithm>
#include <utility>

#include "kernels/linear/input_rotation.h"
#include "kernels/linear/packed_weights.h"

namespace nibble {
namespace {

constexpr std::size_t kGrainElements = 16384;
constexpr std::size_t kLine = 64;

class RotatedPanels final : public PackedWeights {
 public:
  RotatedPanels(std::unique_ptr<PackedWeights> weights, const ChannelTransform& transform, Isa isa)
      : PackedWeights(weights->rows(), weights->cols(), weights->name() + " of inputs by " + transform.name()),
        weights_(std::move(weights)),
        rotation_(transform, cols_, isa) {
    transform_.input_transform = transform;
  }

  Arithmetic arithmetic() const noexcept override { return weights_->arithmetic(); }
  std::uint64_t resident_bytes() const noexcept override {
    return weights_->resident_bytes() + rotation_.resident_bytes();
  }
  void decode_row(std::uint64_t row, float* out) const override {
    weights_->decode_row(row, out);
    apply_to_row(transform_, row, {out, static_cast<std::size_t>(cols_)});
  }

  std::uint64_t preparation() const noexcept override { return weights_->preparation(); }
  std::uint64_t input_grid() const noexcept override { return weights_->input_grid(); }
  std::span<const std::uint32_t> input_order() const noexcept override { return weights_->input_order(); }
  const InputRotation* input_rotation() const noexcept override { return &rotation_; }
  std::size_t shared_bytes(std::size_t tokens) const noexcept override {
    return rotated_bytes(tokens) + weights_->shared_bytes(tokens);
  }
  std::size_t worker_bytes() const noexcept override { return weights_->worker_bytes(); }
  void prepare(const float* x, std::size_t tokens, ThreadPool& pool, std::byte* shared) const override {
    float* const rotated = reinterpret_cast<float*>(shared);
    const std::size_t cols = rotation_.channels();
    const auto rotate = [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t t = begin; t < end; ++t) rotation_.apply(x + t * cols, rotated + t * cols);
    };
    if (tokens == 1)
      rotate(0, 1, 0);
    else
      pool.parallel_for(tokens, std::max<std::size_t>(1, kGrainElements / cols), rotate);
    weights_->prepare(rotated, tokens, pool, shared + rotated_bytes(tokens));
  }
  void multiply_panel(std::size_t panel, const float*, std::size_t tokens, float* y, std::byte* shared,
                      std::byte* worker) const override {
    weights_->multiply_panel(panel, reinterpret_cast<const float*>(shared), tokens, y, shared + rotated_bytes(tokens),
                             worker);
  }

 private:
  std::size_t rotated_bytes(std::size_t tokens) const noexcept {
    return (tokens * rotation_.channels() * sizeof(float) + kLine - 1) / kLine * kLine;
  }

  std::unique_ptr<PackedWeights> weights_;
  TensorParts transform_;  // and nothing else
  InputRotation rotation_;
};

}  // namespace

std::unique_ptr<PackedWeights> pack_rotated_panels(std::unique_ptr<PackedWeights> weights,
                                                   const ChannelTransform& transform, Isa isa) {
  return std::make_unique<RotatedPanels>(std::move(weights), transform, isa);
}

}  // namespace nibble
