// SPDX-License-Identifier: Apache-2.0
#include "graph/op/scale.h"

namespace nibble {

Dimensions Scale::output(std::span<const Dimensions> inputs) const { return inputs[0]; }

std::vector<WeightUse> Scale::weights(std::span<const Dimensions>) const { return {}; }

std::vector<ScalePassage> Scale::scale_passages(std::span<const Dimensions>) const {
  return {{.absorber = {}, .input = 0, .channel_of = {}}};
}

Cost Scale::cost(std::span<const Dimensions> inputs) const { return {.per_token = width_of(inputs[0])}; }

OnnxSpelling Scale::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.apply("Mul", {s.input(0), s.number(factor)});
  return s;
}

void Scale::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  for (std::size_t i = 0; i < output.size(); ++i) output[i] = factor * operands.inputs[0][i];
}

void Scale::gradient(const Operands&, std::span<const Dimensions>, std::span<const float> output_gradient,
                     const Gradients& into) const {
  for (std::size_t i = 0; i < into.inputs[0].size(); ++i) into.inputs[0][i] += factor * output_gradient[i];
}

}  // namespace nibble
