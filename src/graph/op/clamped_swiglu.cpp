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

void ClampedSwiglu::gradient(const Operands& operands, std::span<const Dimensions>,
                             std::span<const float> output_gradient, const Gradients& into) const {
  const double most = static_cast<double>(limit), steepness = static_cast<double>(alpha);
  for (std::size_t i = 0; i < output_gradient.size(); ++i) {
    const double gate = static_cast<double>(operands.inputs[0][i]), up = static_cast<double>(operands.inputs[1][i]);
    const double g = std::min(gate, most), u = std::clamp(up, -most, most),
                 dy = static_cast<double>(output_gradient[i]);
    const double open = 1 / (1 + std::exp(-steepness * g));
    if (!into.inputs[0].empty() && gate <= most)
      into.inputs[0][i] += static_cast<float>(dy * (u + 1) * open * (1 + steepness * g * (1 - open)));
    if (!into.inputs[1].empty() && std::abs(up) <= most) into.inputs[1][i] += static_cast<float>(dy * g * open);
  }
}

}  // namespace nibble
