// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "graph/operation.h"

namespace nibble {

// The router of a mixture of experts (MoE): which experts a token is sent to, and with what weight (Shazeer et al.
// 2017): of logits [tokens, experts] the `used` largest, by their softmax over all experts; with `normalizes` divided
// by their sum; with `scales` each then times a number of its expert's own. Of equal logits the earlier expert's comes
// first. Output: [tokens, experts], 0 for all others.
struct Route {
  static constexpr std::string_view kName = "route";
  static constexpr std::size_t kInputs = 1;
  static constexpr GradientPlace kGradient = {};
  static constexpr bool kMixesTokens = false;

  std::uint64_t used = 0;
  bool normalizes = true;
  std::string scales = {};  // part [experts]; empty: none
  bool operator==(const Route&) const = default;

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
