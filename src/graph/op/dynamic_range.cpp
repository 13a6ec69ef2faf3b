// SPDX-License-Identifier: Apache-2.0
#include "graph/op/dynamic_range.h"

#include <algorithm>
#include <cmath>

#include "graph/extents.h"

namespace nibble {

Dimensions DynamicRange::output(std::span<const Dimensions> inputs) const {
  require_drawable(inputs.size() == 1, kName, "no input");
  return {{Axis::channel, 2}};
}

std::vector<WeightUse> DynamicRange::weights(std::span<const Dimensions>) const { return {}; }

// Not linear.
std::vector<ScalePassage> DynamicRange::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost DynamicRange::cost(std::span<const Dimensions> inputs) const { return {.whole = numbers_of(inputs[0])}; }

OnnxSpelling DynamicRange::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.refuse("what it makes is two values there");
  return s;
}

void DynamicRange::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  float smallest = 0, largest = 0;
  for (const float x : operands.inputs[0]) {
    smallest = std::min(smallest, x);
    largest = std::max(largest, x);
  }
  const float scale = (largest - smallest) / 255;
  output[0] = scale;
  output[1] = scale == 0 ? 0 : std::nearbyint(std::min(std::max(-smallest / scale, 0.0F), 255.0F));
}

}  // namespace nibble
