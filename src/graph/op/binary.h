// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/operation.h"

namespace nibble {

// A function of two numbers, of values that are repeated along extents of 1 to one shape. Truths are 0 and 1.
struct Binary {
  static constexpr std::string_view kName = "binary";
  static constexpr std::size_t kInputs = 2;
  static constexpr GradientPlace kGradient = kNoGradientYet;
  static constexpr bool kMixesTokens = true;

  enum class Kind {
    add,
    subtract,
    multiply,
    divide,
    divide_integers,  // towards 0
    power,
    minimum,
    maximum,
    remainder,        // of the sign of the divisor
    float_remainder,  // of the sign of the number
    parametric_relu,  // b * a where a < 0
    equal,
    less,
    less_or_equal,
    greater,
    greater_or_equal,
    both,
    either,
    one_of
  };
  Kind kind = Kind::add;
  bool operator==(const Binary&) const = default;

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
