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

void Gain::gradient(const Operands& operands, std::span<const Dimensions>, std::span<const float> output_gradient,
                    const Gradients& into) const {
  const float factor = operands.weight(part).front();
  for (std::size_t i = 0; i < into.inputs[0].size(); ++i) into.inputs[0][i] += factor * output_gradient[i];
  const std::span<float> by_factor = into.weight(part);
  if (by_factor.empty()) return;
  double sum = 0;
  for (std::size_t i = 0; i < output_gradient.size(); ++i)
    sum += static_cast<double>(output_gradient[i]) * static_cast<double>(operands.inputs[0][i]);
  by_factor.front() += static_cast<float>(sum);
}

}  // namespace nibble
