// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/operation.h"

namespace nibble {

// Numbers before and behind x along each dimension.
struct Pad {
  static constexpr std::string_view kName = "pad";
  static constexpr std::size_t kInputs = 1;
  static constexpr GradientPlace kGradient = kNoGradientYet;
  static constexpr bool kMixesTokens = true;

  // constant: `value`; reflect: mirrored at the last number; edge: the last number again; wrap: from the other end.
  enum class Kind { constant, reflect, edge, wrap };
  Kind kind = Kind::constant;
  std::vector<std::uint64_t> before, behind;
  float value = 0;
  bool operator==(const Pad&) const = default;

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
