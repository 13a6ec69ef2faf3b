// SPDX-License-Identifier: Apache-2.0
#include "graph/op/multiply.h"

namespace nibble {

Dimensions Multiply::output(std::span<const Dimensions> inputs) const {
  require_drawable(inputs[0] == inputs[1], kName, "factors of different shapes");
  return inputs[0];
}

std::vector<WeightUse> Multiply::weights(std::span<const Dimensions>) const { return {}; }

// Either factor may be scaled.
std::vector<ScalePassage> Multiply::scale_passages(std::span<const Dimensions>) const {
  return {{.absorber = {}, .input = 0, .channel_of = {}}, {.absorber = {}, .input = 1, .channel_of = {}}};
}

Cost Multiply::cost(std::span<const Dimensions> inputs) const { return {.per_token = width_of(inputs[0])}; }

OnnxSpelling Multiply::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.apply("Mul", {s.input(0), s.input(1)});
  return s;
}

void Multiply::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  for (std::size_t i = 0; i < output.size(); ++i) output[i] = operands.inputs[0][i] * operands.inputs[1][i];
}

void Multiply::gradient(const Operands& operands, std::span<const Dimensions>, std::span<const float> output_gradient,
                        const Gradients& into) const {
  for (std::size_t factor = 0; factor < 2; ++factor)
    for (std::size_t i = 0; i < into.inputs[factor].size(); ++i)
      into.inputs[factor][i] += output_gradient[i] * operands.inputs[1 - factor][i];
}

}  // namespace nibble
