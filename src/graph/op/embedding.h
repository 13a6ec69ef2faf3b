// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/operation.h"

namespace nibble {

// Token ids become rows of a matrix [vocabulary, width].
struct Embedding {
  static constexpr std::string_view kName = "embedding";
  static constexpr std::size_t kInputs = 0;
  static constexpr GradientPlace kGradient = {.reads_inputs = false};
  static constexpr bool kMixesTokens = false;

  std::string part;
  std::uint64_t vocabulary = 0, width = 0;
  bool operator==(const Embedding&) const = default;

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
