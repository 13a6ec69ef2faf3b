// SPDX-License-Identifier: Apache-2.0
//
// Weights that are made for inputs T x. Products of one call that rotate alike share the rotated inputs.
#include <utility>

#include "kernels/linear/changed_inputs.h"
#include "kernels/linear/input_rotation.h"

namespace nibble {
namespace {

class RotatedPanels final : public ChangedInputs {
 public:
  RotatedPanels(std::unique_ptr<PackedWeights> weights, const ChannelTransform& transform, Isa isa)
      : ChangedInputs(std::move(weights), " of inputs by " + transform.name()), rotation_(transform, cols_, isa) {
    transform_.input_transform = transform;
  }

  std::uint64_t resident_bytes() const noexcept override {
    return weights().resident_bytes() + rotation_.resident_bytes();
  }
  void decode_row(std::uint64_t row, float* out) const override {
    weights().decode_row(row, out);
    apply_to_row(transform_, row, {out, static_cast<std::size_t>(cols_)});
  }
  const InputRotation* input_rotation() const noexcept override { return &rotation_; }

 private:
  void change(const float* x, float* changed) const override { rotation_.apply(x, changed); }

  TensorParts transform_;  // and nothing else
  InputRotation rotation_;
};

}  // namespace

std::unique_ptr<PackedWeights> pack_rotated_panels(std::unique_ptr<PackedWeights> weights,
                                                   const ChannelTransform& transform, Isa isa) {
  return std::make_unique<RotatedPanels>(std::move(weights), transform, isa);
}

}  // namespace nibble
