// SPDX-License-Identifier: Apache-2.0
#include "graph/op/expand.h"

#include "graph/extents.h"

namespace nibble {

Dimensions Expand::output(std::span<const Dimensions> inputs) const { return broadcast(inputs[0], shape, kName); }

std::vector<WeightUse> Expand::weights(std::span<const Dimensions>) const { return {}; }

// Channels may come from one number.
std::vector<ScalePassage> Expand::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost Expand::cost(std::span<const Dimensions>) const { return {}; }

OnnxSpelling Expand::onnx(std::span<const Dimensions> inputs) const {
  OnnxSpelling s;
  const auto integers = [](const auto& numbers) { return std::vector<std::int64_t>(numbers.begin(), numbers.end()); };

  s.apply("Expand", {s.input(0), s.integers(integers(extents_of(broadcast(inputs[0], shape, kName))))});
  return s;
}

void Expand::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const Dimensions made = this->output(inputs);
  const Strided x = broadcast_strides(inputs[0], made);
  const std::size_t length = made.empty() ? 1 : static_cast<std::size_t>(made.back().extent);
  const std::size_t step = made.empty() ? 0 : static_cast<std::size_t>(x.strides.back());
  if (output.empty()) return;
  for_each_row<1>(extents_of(made), {x}, [&](std::size_t out, std::array<std::size_t, 1> at) {
    for (std::size_t i = 0; i < length; ++i) output[out + i] = operands.inputs[0][at[0] + i * step];
  });
}

}  // namespace nibble
