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

}  // namespace nibble
