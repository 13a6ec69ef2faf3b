// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/operation.h"

namespace nibble {

// y = x W^T + b, W [rows, width of x]. Linears with the same input value are a site.
struct Linear {
  static constexpr std::string_view kName = "linear";
  static constexpr std::size_t kInputs = 1;
  static constexpr GradientPlace kGradient = {};
  static constexpr bool kMixesTokens = false;

  std::string part, site;
  std::uint64_t rows = 0;
  bool has_bias = false;  // "{part}.bias" [rows]
  TensorRole role = TensorRole::linear;
  bool operator==(const Linear&) const = default;

  std::string bias() const { return has_bias ? part + ".bias" : std::string(); }  // its part; empty: none
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
