// SPDX-License-Identifier: Apache-2.0
#include "graph/op/scale_tokens.h"

namespace nibble {

Dimensions ScaleTokens::output(std::span<const Dimensions> inputs) const {
  require_drawable(inputs[0].size() == 2 && inputs[1] == token_rows(1), kName, "factors of another shape");
  return inputs[0];
}

std::vector<WeightUse> ScaleTokens::weights(std::span<const Dimensions>) const { return {}; }

std::vector<ScalePassage> ScaleTokens::scale_passages(std::span<const Dimensions>) const {
  return {{.absorber = {}, .input = 0, .channel_of = {}}};
}

Cost ScaleTokens::cost(std::span<const Dimensions> inputs) const { return {.per_token = width_of(inputs[0])}; }

OnnxSpelling ScaleTokens::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.apply("Mul", {s.input(0), s.input(1)});
  return s;
}

void ScaleTokens::evaluate(const Operands& operands, std::span<const Dimensions> inputs,
                           std::span<float> output) const {
  const std::uint64_t width = width_of(inputs[0]);
  for (std::size_t i = 0; i < output.size(); ++i) output[i] = operands.inputs[0][i] * operands.inputs[1][i / width];
}

void ScaleTokens::gradient(const Operands& operands, std::span<const Dimensions> inputs,
                           std::span<const float> output_gradient, const Gradients& into) const {
  const std::uint64_t width = width_of(inputs[0]);
  for (std::size_t i = 0; i < into.inputs[0].size(); ++i)
    into.inputs[0][i] += output_gradient[i] * operands.inputs[1][i / width];
  for (std::size_t t = 0; t < into.inputs[1].size(); ++t) {
    double sum = 0;
    for (std::size_t i = t * width; i < (t + 1) * width; ++i)
      sum += static_cast<double>(output_gradient[i]) * static_cast<double>(operands.inputs[0][i]);
    into.inputs[1][t] += static_cast<float>(sum);
  }
}

}  // namespace nibble
