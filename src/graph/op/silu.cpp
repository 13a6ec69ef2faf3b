// SPDX-License-Identifier: Apache-2.0
#include "graph/op/silu.h"

#include <cmath>

namespace nibble {

Dimensions Silu::output(std::span<const Dimensions> inputs) const { return inputs[0]; }

std::vector<WeightUse> Silu::weights(std::span<const Dimensions>) const { return {}; }

// Not linear.
std::vector<ScalePassage> Silu::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Silu::cost(std::span<const Dimensions> inputs) const { return {.per_token = 8 * width_of(inputs[0])}; }

OnnxSpelling Silu::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.apply("Mul", {s.input(0), s.apply("Sigmoid", {s.input(0)})});
  return s;
}

void Silu::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  for (std::size_t i = 0; i < output.size(); ++i) {
    const double x = static_cast<double>(operands.inputs[0][i]);
    output[i] = static_cast<float>(x / (1 + std::exp(-x)));
  }
}

void Silu::gradient(const Operands& operands, std::span<const Dimensions>, std::span<const float> output_gradient,
                    const Gradients& into) const {
  for (std::size_t i = 0; i < into.inputs[0].size(); ++i) {
    const double x = static_cast<double>(operands.inputs[0][i]), open = 1 / (1 + std::exp(-x));
    into.inputs[0][i] += static_cast<float>(static_cast<double>(output_gradient[i]) * open * (1 + x * (1 - open)));
  }
}

}  // namespace nibble
