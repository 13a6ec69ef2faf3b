// SPDX-License-Identifier: Apache-2.0
#include "graph/op/mix_experts.h"

namespace nibble {

Dimensions MixExperts::output(std::span<const Dimensions> inputs) const {
  require_drawable(inputs[0].size() == 3 && inputs[1].size() == 2 && inputs[0][1].extent == width_of(inputs[1]), kName,
                   "a routing to other experts");
  return token_rows(width_of(inputs[0]));
}

std::vector<WeightUse> MixExperts::weights(std::span<const Dimensions>) const { return {}; }

std::vector<ScalePassage> MixExperts::scale_passages(std::span<const Dimensions>) const {
  return {{.absorber = {}, .input = 0, .channel_of = {}}};
}

Cost MixExperts::cost(std::span<const Dimensions> inputs) const { return {.per_token = numbers_per_token(inputs[0])}; }

OnnxSpelling MixExperts::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.refuse("experts that tokens are sent to would all be computed for every token");
  return s;
}

void MixExperts::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const std::uint64_t experts = width_of(inputs[1]), width = width_of(inputs[0]);
  for (std::size_t t = 0; t < operands.tokens; ++t)
    for (std::uint64_t i = 0; i < width; ++i) {
      double sum = 0;
      for (std::uint64_t e = 0; e < experts; ++e)
        sum += static_cast<double>(operands.inputs[1][t * experts + e]) *
               static_cast<double>(operands.inputs[0][(t * experts + e) * width + i]);
      output[t * width + i] = static_cast<float>(sum);
    }
}

void MixExperts::gradient(const Operands& operands, std::span<const Dimensions> inputs,
                          std::span<const float> output_gradient, const Gradients& into) const {
  const std::uint64_t experts = width_of(inputs[1]), width = width_of(inputs[0]);
  for (std::size_t place = 0; place < operands.tokens * experts; ++place) {
    const std::span<const float> dy = output_gradient.subspan(place / experts * width, width);
    const float share = operands.inputs[1][place];
    for (std::uint64_t i = 0; i < width && !into.inputs[0].empty(); ++i)
      into.inputs[0][place * width + i] += share * dy[i];
    if (into.inputs[1].empty() || share == 0) continue;
    double sum = 0;
    for (std::uint64_t i = 0; i < width; ++i)
      sum += static_cast<double>(dy[i]) * static_cast<double>(operands.inputs[0][place * width + i]);
    into.inputs[1][place] += static_cast<float>(sum);
  }
}

}  // namespace nibble
