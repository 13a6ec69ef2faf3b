// SPDX-License-Identifier: Apache-2.0
#include "graph/op/rope.h"

#include <algorithm>
#include <cmath>

namespace nibble {

Dimensions Rope::output(std::span<const Dimensions> inputs) const {
  require_drawable(head_dim > 0 && width_of(inputs[0]) % head_dim == 0, kName, "channels are not whole heads");
  require_drawable(2 * frequencies.size() <= head_dim, kName, "more pairs than a head has");
  require_drawable(long_frequencies.empty() || long_frequencies.size() == frequencies.size(), kName,
                   "other pairs in long sequences");
  return inputs[0];
}

std::vector<WeightUse> Rope::weights(std::span<const Dimensions>) const { return {}; }

// Exact only where both channels of a pair have the same factor, which nobody asks for.
std::vector<ScalePassage> Rope::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Rope::cost(std::span<const Dimensions> inputs) const {
  return {.per_token = width_of(inputs[0]) / head_dim * 4 * frequencies.size()};
}

void Rope::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const std::uint64_t width = width_of(inputs[0]), pairs = frequencies.size();
  const std::vector<double>& turns =
      !long_frequencies.empty() && operands.tokens > short_length ? long_frequencies : frequencies;
  std::ranges::copy(operands.inputs[0], output.begin());
  for (std::size_t t = 0; t < operands.tokens; ++t)
    for (std::uint64_t head = 0; head < width / head_dim; ++head)
      for (std::uint64_t i = 0; i < pairs; ++i) {
        const std::uint64_t base = t * width + head * head_dim;
        float& a = output[base + (half_split ? i : 2 * i)];
        float& b = output[base + (half_split ? i + pairs : 2 * i + 1)];
        const double angle = static_cast<double>(t) * turns[i], size = static_cast<double>(magnitude);
        const double x = static_cast<double>(a), y = static_cast<double>(b);
        a = static_cast<float>((x * std::cos(angle) - y * std::sin(angle)) * size);
        b = static_cast<float>((x * std::sin(angle) + y * std::cos(angle)) * size);
      }
}

}  // namespace nibble
