// SPDX-License-Identifier: Apache-2.0
#include "graph/op/select.h"

#include "graph/extents.h"

namespace nibble {

Dimensions Select::output(std::span<const Dimensions> inputs) const {
  return broadcast(broadcast(inputs[0], inputs[1], kName), inputs[2], kName);
}

std::vector<WeightUse> Select::weights(std::span<const Dimensions>) const { return {}; }

// Both would have to be scaled at once.
std::vector<ScalePassage> Select::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Select::cost(std::span<const Dimensions>) const { return {}; }

OnnxSpelling Select::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.apply("Where", {s.apply("Cast", {s.input(0)}, {{"to", std::int64_t{9}}}), s.input(1), s.input(2)});
  return s;
}

void Select::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const Dimensions shape = this->output(inputs);
  std::array<Strided, 3> strided;
  std::array<std::size_t, 3> step{};
  for (std::size_t i = 0; i < 3; ++i) {
    strided[i] = broadcast_strides(inputs[i], shape);
    step[i] = shape.empty() ? 0 : static_cast<std::size_t>(strided[i].strides.back());
  }
  const std::size_t length = shape.empty() ? 1 : static_cast<std::size_t>(shape.back().extent);
  if (output.empty()) return;
  for_each_row<3>(extents_of(shape), strided, [&](std::size_t out, std::array<std::size_t, 3> at) {
    for (std::size_t i = 0; i < length; ++i)
      output[out + i] = operands.inputs[0][at[0] + i * step[0]] != 0 ? operands.inputs[1][at[1] + i * step[1]]
                                                                     : operands.inputs[2][at[2] + i * step[2]];
  });
}

}  // namespace nibble
