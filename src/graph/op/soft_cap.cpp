// SPDX-License-Identifier: Apache-2.0
#include "graph/op/soft_cap.h"

#include <cmath>

namespace nibble {

Dimensions SoftCap::output(std::span<const Dimensions> inputs) const {
  require_drawable(cap > 0, kName, "a cap that is not positive");
  return inputs[0];
}

std::vector<WeightUse> SoftCap::weights(std::span<const Dimensions>) const { return {}; }

// Not linear.
std::vector<ScalePassage> SoftCap::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost SoftCap::cost(std::span<const Dimensions> inputs) const { return {.per_token = 8 * width_of(inputs[0])}; }

OnnxSpelling SoftCap::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.apply("Mul", {s.apply("Tanh", {s.apply("Div", {s.input(0), s.number(cap)})}), s.number(cap)});
  return s;
}

void SoftCap::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  for (std::size_t i = 0; i < output.size(); ++i)
    output[i] = static_cast<float>(static_cast<double>(cap) *
                                   std::tanh(static_cast<double>(operands.inputs[0][i]) / static_cast<double>(cap)));
}

void SoftCap::gradient(const Operands& operands, std::span<const Dimensions>, std::span<const float> output_gradient,
                       const Gradients& into) const {
  for (std::size_t i = 0; i < into.inputs[0].size(); ++i) {
    const double bend = std::tanh(static_cast<double>(operands.inputs[0][i]) / static_cast<double>(cap));
    into.inputs[0][i] += static_cast<float>(static_cast<double>(output_gradient[i]) * (1 - bend * bend));
  }
}

}  // namespace nibble
