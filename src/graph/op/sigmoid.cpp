// SPDX-License-Identifier: Apache-2.0
#include "graph/op/sigmoid.h"

#include <cmath>

namespace nibble {

Dimensions Sigmoid::output(std::span<const Dimensions> inputs) const { return inputs[0]; }

std::vector<WeightUse> Sigmoid::weights(std::span<const Dimensions>) const { return {}; }

// Not linear.
std::vector<ScalePassage> Sigmoid::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Sigmoid::cost(std::span<const Dimensions> inputs) const { return {.per_token = 4 * width_of(inputs[0])}; }

OnnxSpelling Sigmoid::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.apply("Sigmoid", {s.input(0)});
  return s;
}

void Sigmoid::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  for (std::size_t i = 0; i < output.size(); ++i)
    output[i] = static_cast<float>(1 / (1 + std::exp(-static_cast<double>(operands.inputs[0][i]))));
}

void Sigmoid::gradient(const Operands& operands, std::span<const Dimensions>, std::span<const float> output_gradient,
                       const Gradients& into) const {
  for (std::size_t i = 0; i < into.inputs[0].size(); ++i) {
    const double y = 1 / (1 + std::exp(-static_cast<double>(operands.inputs[0][i])));
    into.inputs[0][i] += static_cast<float>(static_cast<double>(output_gradient[i]) * y * (1 - y));
  }
}

}  // namespace nibble
