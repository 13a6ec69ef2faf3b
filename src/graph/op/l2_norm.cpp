// SPDX-License-Identifier: Apache-2.0
#include "graph/op/l2_norm.h"

#include <cmath>

namespace nibble {

Dimensions L2Norm::output(std::span<const Dimensions> inputs) const {
  require_drawable(group == 0 || width_of(inputs[0]) % group == 0, kName, "channels are not whole groups");
  return inputs[0];
}

std::vector<WeightUse> L2Norm::weights(std::span<const Dimensions>) const { return {}; }

// A factor of one channel changes all of its head.
std::vector<ScalePassage> L2Norm::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost L2Norm::cost(std::span<const Dimensions> inputs) const { return {.per_token = 2 * width_of(inputs[0])}; }

void L2Norm::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const std::span<const float> x = operands.inputs[0];
  const std::uint64_t length = group == 0 ? width_of(inputs[0]) : group;
  for (std::size_t begin = 0; begin < x.size(); begin += length) {
    double squares = static_cast<double>(epsilon);
    for (std::size_t i = begin; i < begin + length; ++i)
      squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    for (std::size_t i = begin; i < begin + length; ++i)
      output[i] = static_cast<float>(static_cast<double>(x[i]) / std::sqrt(squares));
  }
}

}  // namespace nibble
