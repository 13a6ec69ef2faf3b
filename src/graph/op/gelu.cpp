// SPDX-License-Identifier: Apache-2.0
#include "graph/op/gelu.h"

#include <cmath>
#include <numbers>

namespace nibble {

Dimensions Gelu::output(std::span<const Dimensions> inputs) const { return inputs[0]; }

std::vector<WeightUse> Gelu::weights(std::span<const Dimensions>) const { return {}; }

// Not linear.
std::vector<ScalePassage> Gelu::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Gelu::cost(std::span<const Dimensions> inputs) const { return {.per_token = 8 * width_of(inputs[0])}; }

OnnxSpelling Gelu::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.apply("Gelu", {s.input(0)}, {{"approximate", std::string("tanh")}});
  return s;
}

void Gelu::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  for (std::size_t i = 0; i < output.size(); ++i) {
    const double x = static_cast<double>(operands.inputs[0][i]);
    output[i] =
        static_cast<float>(x / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x))));
  }
}

void Gelu::gradient(const Operands& operands, std::span<const Dimensions>, std::span<const float> output_gradient,
                    const Gradients& into) const {
  const double root = std::sqrt(2 / std::numbers::pi);
  for (std::size_t i = 0; i < into.inputs[0].size(); ++i) {
    const double x = static_cast<double>(operands.inputs[0][i]);
    const double bend = std::tanh(root * (x + 0.044715 * x * x * x));
    const double slope = (1 + bend) / 2 + x / 2 * (1 - bend * bend) * root * (1 + 3 * 0.044715 * x * x);
    into.inputs[0][i] += static_cast<float>(static_cast<double>(output_gradient[i]) * slope);
  }
}

}  // namespace nibble
