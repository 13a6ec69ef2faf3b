// SPDX-License-Identifier: Apache-2.0
#include "graph/op/add.h"

namespace nibble {

Dimensions Add::output(std::span<const Dimensions> inputs) const {
  require_drawable(inputs[0] == inputs[1], kName, "terms of different shapes");
  return inputs[0];
}

std::vector<WeightUse> Add::weights(std::span<const Dimensions>) const { return {}; }

// Both terms would have to be scaled at once.
std::vector<ScalePassage> Add::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Add::cost(std::span<const Dimensions> inputs) const { return {.per_token = width_of(inputs[0])}; }

OnnxSpelling Add::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.apply("Add", {s.input(0), s.input(1)});
  return s;
}

void Add::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  for (std::size_t i = 0; i < output.size(); ++i) output[i] = operands.inputs[0][i] + operands.inputs[1][i];
}

void Add::gradient(const Operands&, std::span<const Dimensions>, std::span<const float> output_gradient,
                   const Gradients& into) const {
  for (const std::span<float> term : into.inputs)
    for (std::size_t i = 0; i < term.size(); ++i) term[i] += output_gradient[i];
}

}  // namespace nibble
