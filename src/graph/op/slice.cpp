// SPDX-License-Identifier: Apache-2.0
#include "graph/op/slice.h"

#include <algorithm>
#include <numeric>

namespace nibble {

Dimensions Slice::output(std::span<const Dimensions> inputs) const {
  require_drawable(count > 0 && begin + count <= width_of(inputs[0]), kName, "channels that are not there");
  Dimensions shape = inputs[0];
  shape.back().extent = count;
  return shape;
}

std::vector<WeightUse> Slice::weights(std::span<const Dimensions>) const { return {}; }

std::vector<ScalePassage> Slice::scale_passages(std::span<const Dimensions>) const {
  ScalePassage passage{.absorber = {}, .input = 0, .channel_of = std::vector<std::uint32_t>(count)};
  std::iota(passage.channel_of.begin(), passage.channel_of.end(), static_cast<std::uint32_t>(begin));
  return {passage};
}

Cost Slice::cost(std::span<const Dimensions>) const { return {}; }

void Slice::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const std::uint64_t width = width_of(inputs[0]);
  for (std::size_t t = 0; t < operands.tokens; ++t)
    std::copy_n(&operands.inputs[0][t * width + begin], count, &output[t * count]);
}

}  // namespace nibble
