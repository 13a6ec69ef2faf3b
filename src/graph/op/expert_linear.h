// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/operation.h"

namespace nibble {

// A Linear for each expert of a mixture of experts (MoE; Shazeer et al. 2017), applied to the tokens that are routed to
// it: y[t, e] = W_e x[t] + b_e, or W_e x[t, e] + b_e. Inputs: x, [tokens, cols] or [tokens, experts, cols], and the
// routing [tokens, experts]. Output: [tokens, experts, rows], zero where nothing is routed.
struct ExpertLinear {
  static constexpr std::string_view kName = "expert_linear";
  static constexpr std::size_t kInputs = 2;
  static constexpr GradientPlace kGradient = {};
  static constexpr bool kMixesTokens = false;

  std::string part;  // of expert e: expert_part(part, e)
  std::string site;
  std::uint64_t rows = 0;
  bool has_bias = false;  // "{part}.bias" [rows], one for each expert as well
  bool operator==(const ExpertLinear&) const = default;

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
