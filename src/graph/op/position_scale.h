// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/operation.h"

namespace nibble {

// y = (1 + growth * ln(1 + floor(p / period))) * x of the token at position p: the temperature by which queries grow
// with their position, so that attention stays as sharp over long texts as over short ones (Llama Team 2025).
struct PositionScale {
  static constexpr std::string_view kName = "position_scale";
  static constexpr std::size_t kInputs = 1;
  static constexpr GradientPlace kGradient = {.reads_inputs = false};
  static constexpr bool kMixesTokens = false;

  float growth = 0;
  std::uint64_t period = 1;  // positions
  bool operator==(const PositionScale&) const = default;

  float factor(std::size_t position) const;  // 1 within the first period

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
