// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/operation.h"

namespace nibble {

// y = max(x, 0)^2 (So et al. 2021).
struct SquaredRelu {
  static constexpr std::string_view kName = "squared_relu";
  static constexpr std::size_t kInputs = 1;
  static constexpr GradientPlace kGradient = {};
  static constexpr bool kMixesTokens = false;

  bool operator==(const SquaredRelu&) const = default;

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
