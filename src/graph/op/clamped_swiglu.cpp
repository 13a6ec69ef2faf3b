// SPDX-License-Identifier: Apache-2.0
#include "graph/op/clamped_swiglu.h"

#include <algorithm>
#include <cmath>

namespace nibble {

Dimensions ClampedSwiglu::output(std::span<const Dimensions> inputs) const {
  require_drawable(inputs[0] == inputs[1], kName, "factors of different shapes");
  require_drawable(limit > 0, kName, "a limit that is not positive");
  return inputs[0];
}

std::vector<WeightUse> ClampedSwiglu::weights(std::span<const Dimensions>) const { return {}; }

// Linear in neither factor.
std::vector<ScalePassage> ClampedSwiglu::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost ClampedSwiglu::cost(std::span<const Dimensions> inputs) const { return {.per_token = 10 * width_of(inputs[0])}; }

OnnxSpelling ClampedSwiglu::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  const auto gate = s.apply("Min", {s.input(0), s.number(limit)});
  const auto up = s.apply("Max", {s.apply("Min", {s.input(1), s.number(limit)}), s.number(-limit)});
  const auto open = s.apply("Mul", {gate, s.apply("Sigmoid", {s.apply("Mul", {gate, s.number(alpha)})})});
  s.apply("Mul", {open, s.apply("Add", {up, s.number(1)})});
  return s;
}

void ClampedSwiglu::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  const double most = static_cast<double>(limit);
  for (std::size_t i = 0; i < output.size(); ++i) {
    const double gate = std::min(static_cast<double>(operands.inputs[0][i]), most);
    const double up = std::clamp(static_cast<double>(operands.inputs[1][i]), -most, most);
    output[i] = static_cast<float>(gate / (1 + std::exp(-static_cast<double>(alpha) * gate)) * (up + 1));
  }
}

}  // namespace nibble
