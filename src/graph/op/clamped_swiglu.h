// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/operation.h"

namespace nibble {

// SwiGLU (Shazeer 2020) whose factors are bounded, and whose linear factor is shifted (OpenAI 2025): with g = min(gate,
// limit) and u = up within -limit .. limit, y = g / (1 + exp(-alpha g)) * (u + 1). Inputs: gate and up, of one shape.
struct ClampedSwiglu {
  static constexpr std::string_view kName = "clamped_swiglu";
  static constexpr std::size_t kInputs = 2;
  static constexpr GradientPlace kGradient = {};
  static constexpr bool kMixesTokens = false;

  float alpha = 1.702F, limit = 7;
  bool operator==(const ClampedSwiglu&) const = default;

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
