// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/op/recurrence.h"
#include "graph/operation.h"

namespace nibble {

// Long short-term memory: x [steps, batch, inputs], the first hidden and the first cell values [directions, batch,
// hidden] give [steps, directions, batch, 2 * hidden]: of each step the hidden numbers, then the cell's. Gates in the
// order i, o, f, c; i = f(x W_i + h R_i + p_i c + b), c' = f c + i g(...), h' = o h(c').
struct Lstm {
  static constexpr std::string_view kName = "lstm";
  static constexpr std::size_t kInputs = 3;
  static constexpr GradientPlace kGradient = kNoGradientYet;
  static constexpr bool kMixesTokens = true;

  std::string part;  // W [directions, 4 * hidden, inputs]; "{part}.recurrent" [directions, 4 * hidden, hidden]
  bool has_bias = false, has_peepholes = false;  // "{part}.bias" [directions, 8 * hidden], "{part}.peepholes" [.., 3 *]
  std::uint64_t hidden = 0;
  RecurrentDirections directions = RecurrentDirections::forward;
  std::vector<GateFunction> functions;  // f, g, h of each direction
  float clip = 0;                       // of the functions' inputs; 0: none
  bool couples_gates = false;           // f = 1 - i
  bool operator==(const Lstm&) const = default;

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
