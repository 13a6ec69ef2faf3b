// SPDX-License-Identifier: Apache-2.0
#include "graph/op/reshape.h"

#include <algorithm>

#include "graph/extents.h"

namespace nibble {

Dimensions Reshape::output(std::span<const Dimensions> inputs) const {
  require_drawable(numbers_of(shape) == numbers_of(inputs[0]), kName, "a shape of another number of numbers");
  return shape;
}

std::vector<WeightUse> Reshape::weights(std::span<const Dimensions>) const { return {}; }

// Channels may be split over dimensions.
std::vector<ScalePassage> Reshape::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Reshape::cost(std::span<const Dimensions>) const { return {}; }

OnnxSpelling Reshape::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  const auto integers = [](const auto& numbers) { return std::vector<std::int64_t>(numbers.begin(), numbers.end()); };
  s.apply("Reshape", {s.input(0), s.integers(integers(extents_of(shape)))});
  return s;
}

void Reshape::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  std::ranges::copy(operands.inputs[0], output.begin());
}

}  // namespace nibble
