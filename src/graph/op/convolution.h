// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/op/window.h"
#include "graph/operation.h"

namespace nibble {

// Convolution over one or two dimensions behind batch and channels: x [batch, channels, (height,) width], W [outputs,
// channels / groups, (taps,) taps]. y[b, o, p] = bias[o] + the sum over the channels of o's group and the taps t of
// W[o, c, t] * x[b, c, p * stride + t * dilation - pad], where what lies outside x is 0.
struct Convolution {
  static constexpr std::string_view kName = "convolution";
  static constexpr std::size_t kInputs = 1;
  static constexpr GradientPlace kGradient = kNoGradientYet;
  static constexpr bool kMixesTokens = true;

  std::string part;
  bool has_bias = false;  // "{part}.bias" [outputs]
  std::uint64_t outputs = 0, groups = 1;
  Window window;
  bool operator==(const Convolution&) const = default;

  Dimensions output(std::span<const Dimensions> inputs) const;
  std::vector<WeightUse> weights(std::span<const Dimensions> inputs) const;
  std::vector<ScalePassage> scale_passages(std::span<const Dimensions> inputs) const;
  Cost cost(std::span<const Dimensions> inputs) const;
  OnnxSpelling onnx(std::span<const Dimensions> inputs) const;
  void evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const;
  void gradient(const Operands&, std::span<const Dimensions>, std::span<const float>, const Gradients&) const {
    refuse_gradient(kName);
  }

  std::string bias() const { return has_bias ? part + ".bias" : std::string(); }
};

}  // namespace nibble
