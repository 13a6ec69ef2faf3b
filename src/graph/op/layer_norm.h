// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/operation.h"

namespace nibble {

// Over all dimensions from `axis` on: y = (x - mean) / sqrt(variance + epsilon) * gain + bias.
struct LayerNorm {
  static constexpr std::string_view kName = "layer_norm";
  static constexpr std::size_t kInputs = 1;
  static constexpr GradientPlace kGradient = kNoGradientYet;
  static constexpr bool kMixesTokens = true;

  std::string part;       // of the gain, of the shape of these dimensions; empty: none, and no bias
  bool has_bias = false;  // "{part}.bias"
  std::uint64_t axis = 0;
  float epsilon = 1e-5F;
  bool operator==(const LayerNorm&) const = default;

  Dimensions output(std::span<const Dimensions> inputs) const;
  std::vector<WeightUse> weights(std::span<const Dimensions> inputs) const;
  std::vector<ScalePassage> scale_passages(std::span<const Dimensions> inputs) const;
  Cost cost(std::span<const Dimensions> inputs) const;
  OnnxSpelling onnx(std::span<const Dimensions> inputs) const;
  void evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const;
  void gradient(const Operands&, std::span<const Dimensions>, std::span<const float>, const Gradients&) const {
    refuse_gradient(kName);
  }
};

}  // namespace nibble
