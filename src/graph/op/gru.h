// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/op/recurrence.h"
#include "graph/operation.h"

namespace nibble {

// Gated recurrent unit: x [steps, batch, inputs] and the first hidden values [directions, batch, hidden] give
// [steps, directions, batch, hidden]. Gates in the order z, r, h; h' = (1 - z) g(x W_h + (r h) R_h + b) + z h.
struct Gru {
  static constexpr std::string_view kName = "gru";
  static constexpr std::size_t kInputs = 2;
  static constexpr GradientPlace kGradient = kNoGradientYet;
  static constexpr bool kMixesTokens = true;

  std::string part;       // W [directions, 3 * hidden, inputs]; "{part}.recurrent" [directions, 3 * hidden, hidden]
  bool has_bias = false;  // "{part}.bias" [directions, 6 * hidden]
  std::uint64_t hidden = 0;
  RecurrentDirections directions = RecurrentDirections::forward;
  std::vector<GateFunction> functions;  // f, g of each direction
  float clip = 0;                       // of the functions' inputs; 0: none
  bool resets_behind = false;           // r (h R_h + b) in place of (r h) R_h + b
  bool operator==(const Gru&) const = default;

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
