// SPDX-License-Identifier: Apache-2.0
#include "graph/op/transpose.h"

#include "graph/extents.h"

namespace nibble {

Dimensions Transpose::output(std::span<const Dimensions> inputs) const {
  require_drawable(order.size() == inputs[0].size(), kName, "another number of dimensions");
  std::vector<bool> seen(order.size(), false);
  Dimensions shape;
  for (const std::uint64_t dimension : order) {
    require_drawable(dimension < order.size() && !seen[dimension], kName, "an order that is none");
    seen[dimension] = true;
    shape.push_back(inputs[0][dimension]);
  }
  return shape;
}

std::vector<WeightUse> Transpose::weights(std::span<const Dimensions>) const { return {}; }

// Which dimension channels are in may change.
std::vector<ScalePassage> Transpose::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Transpose::cost(std::span<const Dimensions>) const { return {}; }

OnnxSpelling Transpose::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.apply("Transpose", {s.input(0)}, {{"perm", std::vector<std::int64_t>(order.begin(), order.end())}});
  return s;
}

void Transpose::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const Dimensions shape = this->output(inputs);
  const std::vector<std::ptrdiff_t> own = row_major(extents_of(inputs[0]));
  Strided x;
  for (const std::uint64_t dimension : order) x.strides.push_back(own[dimension]);
  const std::size_t length = shape.empty() ? 1 : static_cast<std::size_t>(shape.back().extent);
  const std::size_t step = shape.empty() ? 0 : static_cast<std::size_t>(x.strides.back());
  if (output.empty()) return;
  for_each_row<1>(extents_of(shape), {x}, [&](std::size_t out, std::array<std::size_t, 1> at) {
    for (std::size_t i = 0; i < length; ++i) output[out + i] = operands.inputs[0][at[0] + i * step];
  });
}

}  // namespace nibble
