// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/operation.h"

namespace nibble {

// A function of each number by itself. a and b: what it asks for.
struct Unary {
  static constexpr std::string_view kName = "unary";
  static constexpr std::size_t kInputs = 1;
  static constexpr GradientPlace kGradient = kNoGradientYet;
  static constexpr bool kMixesTokens = true;

  enum class Kind {
    relu,
    clip,              // to a .. b
    leaky_relu,        // a * x where x < 0
    hard_sigmoid,      // max(0, min(1, a * x + b))
    hard_swish,        // x * max(0, min(1, x / 6 + 1 / 2))
    elu,               // a * (exp(x) - 1) where x < 0
    selu,              // b * elu
    celu,              // a * (exp(x / a) - 1) where x < 0
    thresholded_relu,  // 0 where x <= a
    gelu,              // x * P(X <= x), by erf
    mish,
    softplus,
    softsign,
    tanh,
    exponential,
    logarithm,
    square_root,
    reciprocal,
    negative,
    absolute,
    erf,
    sign,
    floor,
    ceiling,
    round,     // ties to even
    truncate,  // towards 0
    sine,
    cosine,
    invert,  // 1 where x is 0, else 0
    is_nan,
    is_true  // 0 where x is 0, else 1
  };
  Kind kind = Kind::relu;
  float a = 0, b = 0;
  bool operator==(const Unary&) const = default;

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
