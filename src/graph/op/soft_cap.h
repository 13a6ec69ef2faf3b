// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/operation.h"

namespace nibble {

// y = cap * tanh(x / cap) (Bello et al. 2016): large numbers are bounded, small ones left as they are.
struct SoftCap {
  static constexpr std::string_view kName = "soft_cap";
  static constexpr std::size_t kInputs = 1;
  static constexpr GradientPlace kGradient = {};
  static constexpr bool kMixesTokens = false;

  float cap = 1;
  bool operator==(const SoftCap&) const = default;

  Dimensions output(std::span<const Dimensions> inputs) const;
  std::vector<WeightUse> weights(std::span<const Dimensions> inputs) const;
  std::vector<ScalePassage> scale_passages(std::span<const Dimensions> inputs) const;
  Cost cost(std::span<const Dimensions> inputs) const;
  OnnxSpelling onnx(std::span<const Dimensions> inputs) const;
  void evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const;
  void gradient(const Operands& operands, std::span<const Dimensions> inputs, std::span<const float> output_gradient,
                const Gradients& into) const;
};

}  // namespace nibble
