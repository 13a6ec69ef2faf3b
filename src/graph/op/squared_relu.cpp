// SPDX-License-Identifier: Apache-2.0
#include "graph/op/squared_relu.h"

#include <algorithm>

namespace nibble {

Dimensions SquaredRelu::output(std::span<const Dimensions> inputs) const { return inputs[0]; }

std::vector<WeightUse> SquaredRelu::weights(std::span<const Dimensions>) const { return {}; }

// A factor would have to become its root.
std::vector<ScalePassage> SquaredRelu::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost SquaredRelu::cost(std::span<const Dimensions> inputs) const { return {.per_token = width_of(inputs[0])}; }

OnnxSpelling SquaredRelu::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  const OnnxOperand positive = s.apply("Relu", {s.input(0)});
  s.apply("Mul", {positive, positive});
  return s;
}

void SquaredRelu::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  for (std::size_t i = 0; i < output.size(); ++i) {
    const float x = std::max(operands.inputs[0][i], 0.0f);
    output[i] = x * x;
  }
}

void SquaredRelu::gradient(const Operands& operands, std::span<const Dimensions>,
                           std::span<const float> output_gradient, const Gradients& into) const {
  for (std::size_t i = 0; i < into.inputs[0].size(); ++i)
    into.inputs[0][i] += 2 * std::max(operands.inputs[0][i], 0.0f) * output_gradient[i];
}

}  // namespace nibble
