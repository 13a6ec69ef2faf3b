// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/operation.h"

namespace nibble {

// By the first value: the second where it is not 0, else the third; repeated along extents of 1 to one shape.
struct Select {
  static constexpr std::string_view kName = "select";
  static constexpr std::size_t kInputs = 3;
  static constexpr GradientPlace kGradient = kNoGradientYet;
  static constexpr bool kMixesTokens = true;

  bool operator==(const Select&) const = default;

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
