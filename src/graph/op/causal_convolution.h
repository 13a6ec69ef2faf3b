// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "graph/operation.h"

namespace nibble {

// Depthwise causal convolution over tokens: y[t, c] = sum over j < taps of w[c, j] * x[t - taps + 1 + j, c], where
// tokens before the first are 0. Its state, the last taps - 1 tokens of x, belongs to a sequence.
struct CausalConvolution {
  static constexpr std::string_view kName = "causal_convolution";
  static constexpr std::size_t kInputs = 1;
  static constexpr GradientPlace kGradient = {};
  static constexpr bool kMixesTokens = true;

  static constexpr std::uint64_t kMostTaps = 32;

  std::string part;
  std::uint64_t taps = 0;  // 1 .. kMostTaps
  bool operator==(const CausalConvolution&) const = default;

  Dimensions output(std::span<const Dimensions> inputs) const;
  std::vector<WeightUse> weights(std::span<const Dimensions> inputs) const;
  std::vector<ScalePassage> scale_passages(std::span<const Dimensions> inputs) const;
  Cost cost(std::span<const Dimensions> inputs) const;
  OnnxSpelling onnx(std::span<const Dimensions> inputs) const;
  void evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const;
  void gradient(const Operands& operands, std::span<const Dimensions> inputs, std::span<const float> output_gradient,
                const Gradients& into) const;

  // The state's numbers: [taps - 1, channels], the oldest token first.
  std::uint64_t state_size(std::span<const Dimensions> inputs) const;
};

}  // namespace nibble
