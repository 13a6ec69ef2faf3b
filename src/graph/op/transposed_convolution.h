// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/op/window.h"
#include "graph/operation.h"

namespace nibble {

// The convolution's transpose, which makes values larger: W [channels, outputs / groups, taps...]; each x[b, c, p] is
// added, W[c, o, t] times, to y[b, o, p * stride + t * dilation - pad]. Extents of y: (n - 1) * stride + (taps - 1) *
// dilation + 1 - pads + further.
struct TransposedConvolution {
  static constexpr std::string_view kName = "transposed_convolution";
  static constexpr std::size_t kInputs = 1;
  static constexpr GradientPlace kGradient = kNoGradientYet;
  static constexpr bool kMixesTokens = true;

  std::string part;
  bool has_bias = false;  // "{part}.bias" [outputs]
  std::uint64_t outputs = 0, groups = 1;
  Window window;
  std::vector<std::uint64_t> further;  // at the end of each dimension
  bool operator==(const TransposedConvolution&) const = default;

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
