// SPDX-License-Identifier: Apache-2.0
#include "graph/op/softmax.h"

#include <algorithm>
#include <cmath>

#include "graph/extents.h"

namespace nibble {

Dimensions Softmax::output(std::span<const Dimensions> inputs) const {
  require_drawable(axis < inputs[0].size(), kName, "a dimension that is not there");
  return inputs[0];
}

std::vector<WeightUse> Softmax::weights(std::span<const Dimensions>) const { return {}; }

// Not linear.
std::vector<ScalePassage> Softmax::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Softmax::cost(std::span<const Dimensions> inputs) const { return {.whole = numbers_of(inputs[0])}; }

OnnxSpelling Softmax::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.apply(is_logarithm ? "LogSoftmax" : "Softmax", {s.input(0)}, {{"axis", static_cast<std::int64_t>(axis)}});
  return s;
}

void Softmax::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const Extents extents = extents_of(inputs[0]);
  const std::size_t count = extents[axis], step = static_cast<std::size_t>(row_major(extents)[axis]);
  if (output.empty()) return;
  const std::span<const float> x = operands.inputs[0];
  for (std::size_t i = 0; i < output.size() / count; ++i) {
    const std::size_t first = i / step * step * count + i % step;
    double largest = static_cast<double>(x[first]), sum = 0;
    for (std::size_t j = 0; j < count; ++j) largest = std::max(largest, static_cast<double>(x[first + j * step]));
    for (std::size_t j = 0; j < count; ++j) sum += std::exp(static_cast<double>(x[first + j * step]) - largest);
    for (std::size_t j = first; j < first + count * step; j += step) {
      const double shifted = static_cast<double>(x[j]) - largest;
      output[j] = static_cast<float>(is_logarithm ? shifted - std::log(sum) : std::exp(shifted) / sum);
    }
  }
}

}  // namespace nibble
