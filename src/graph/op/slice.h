// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/operation.h"

namespace nibble {

// The channels begin .. begin + count - 1 of x (a matrix whose rows are several projections, one below the other), or
// of each of its heads of `group` channels (several projections, head by head).
struct Slice {
  static constexpr std::string_view kName = "slice";
  static constexpr std::size_t kInputs = 1;
  static constexpr GradientPlace kGradient = {.reads_inputs = false};
  static constexpr bool kMixesTokens = false;

  std::uint64_t begin = 0, count = 0;
  std::uint64_t group = 0;  // 0: all channels
  bool operator==(const Slice&) const = default;

  Dimensions output(std::span<const Dimensions> inputs) const;
  std::vector<WeightUse> weights(std::span<const Dimensions> inputs) const;
  std::vector<ScalePassage> scale_passages(std::span<const Dimensions> inputs) const;
  Cost cost(std::span<const Dimensions> inputs) const;
  OnnxSpelling onnx(std::span<const Dimensions> inputs) const;
  void evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const;
  void gradient(const Operands& operands, std::span<const Dimensions> inputs, std::span<const float> output_gradient,
                const Gradients& into) const;

  bool takes(std::uint64_t channel) const;
};

}  // namespace nibble
