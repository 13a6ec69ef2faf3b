// SPDX-License-Identifier: Apache-2.0
#include "graph/op/gain.h"

namespace nibble {

Dimensions Gain::output(std::span<const Dimensions> inputs) const { return inputs[0]; }

std::vector<WeightUse> Gain::weights(std::span<const Dimensions>) const {
  return {{part, TensorRole::norm, {1}}};  // a factor, as norms have them
}

std::vector<ScalePassage> Gain::scale_passages(std::span<const Dimensions>) const {
  return {{.absorber = {}, .input = 0, .channel_of = {}}};
}

Cost Gain::cost(std::span<const Dimensions> inputs) const { return {.per_token = width_of(inputs[0])}; }

OnnxSpelling Gain::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.apply("Mul", {s.input(0), s.weight(part)});
  return s;
}

void Gain::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  const float factor = operands.weight(part).front();
  for (std::size_t i = 0; i < output.size(); ++i) output[i] = factor * operands.inputs[0][i];
}

}  // namespace nibble
