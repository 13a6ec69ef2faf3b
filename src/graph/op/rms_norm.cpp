// SPDX-License-Identifier: Apache-2.0
#include "graph/op/rms_norm.h"

#include <cmath>

namespace nibble {

Dimensions RmsNorm::output(std::span<const Dimensions> inputs) const {
  require_drawable(group == 0 || width_of(inputs[0]) % group == 0, kName, "channels are not whole groups");
  return inputs[0];
}

std::vector<WeightUse> RmsNorm::weights(std::span<const Dimensions> inputs) const {
  return {{part, TensorRole::norm, {group == 0 ? width_of(inputs[0]) : group}}};
}

// Groups share their weights, so channels of different groups would need the same factor.
std::vector<ScalePassage> RmsNorm::scale_passages(std::span<const Dimensions> inputs) const {
  if (group != 0 && group != width_of(inputs[0])) return {};
  return {{.absorber = part, .channel_of = {}}};
}

Cost RmsNorm::cost(std::span<const Dimensions> inputs) const { return {.per_token = 2 * width_of(inputs[0])}; }

void RmsNorm::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const std::span<const float> x = operands.inputs[0], w = operands.weight(part);
  const std::uint64_t length = group == 0 ? width_of(inputs[0]) : group;
  for (std::size_t begin = 0; begin < x.size(); begin += length) {
    double squares = 0;
    for (std::size_t i = begin; i < begin + length; ++i)
      squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    const double factor = 1 / std::sqrt(squares / static_cast<double>(length) + static_cast<double>(epsilon));
    for (std::size_t i = 0; i < length; ++i)
      output[begin + i] = static_cast<float>(static_cast<double>(x[begin + i]) * factor * static_cast<double>(w[i]));
  }
}

}  // namespace nibble
