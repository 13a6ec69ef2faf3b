// SPDX-License-Identifier: Apache-2.0
#include "graph/op/slice.h"

#include <algorithm>

namespace nibble {

Dimensions Slice::output(std::span<const Dimensions> inputs) const {
  const std::uint64_t width = width_of(inputs[0]), length = group == 0 ? width : group;
  require_drawable(width % length == 0, kName, "channels are not whole groups");
  require_drawable(count > 0 && begin + count <= length, kName, "channels that are not there");
  Dimensions shape = inputs[0];
  shape.back().extent = width / length * count;
  return shape;
}

std::vector<WeightUse> Slice::weights(std::span<const Dimensions>) const { return {}; }

std::vector<ScalePassage> Slice::scale_passages(std::span<const Dimensions> inputs) const {
  ScalePassage passage{.absorber = {}, .input = 0, .channel_of = {}};
  for (std::uint64_t channel = 0; channel < width_of(inputs[0]); ++channel)
    if (takes(channel)) passage.channel_of.push_back(static_cast<std::uint32_t>(channel));
  return {passage};
}

bool Slice::takes(std::uint64_t channel) const {
  if (group != 0) channel %= group;
  return channel >= begin && channel - begin < count;
}

Cost Slice::cost(std::span<const Dimensions>) const { return {}; }

OnnxSpelling Slice::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  OnnxOperand x = s.input(0);
  if (group != 0) x = s.apply("Reshape", {x, s.integers({0, 0, -1, static_cast<std::int64_t>(group)})});
  const auto first = static_cast<std::int64_t>(begin), end = first + static_cast<std::int64_t>(count);
  const auto taken = s.apply("Slice", {x, s.integers({first}), s.integers({end}), s.integers({-1})});
  if (group != 0) s.apply("Reshape", {taken, s.integers({0, 0, -1})});
  return s;
}

void Slice::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const std::uint64_t length = group == 0 ? width_of(inputs[0]) : group;
  for (std::size_t i = 0; i < output.size() / count; ++i)
    std::copy_n(&operands.inputs[0][i * length + begin], count, &output[i * count]);
}

void Slice::gradient(const Operands&, std::span<const Dimensions> inputs, std::span<const float> output_gradient,
                     const Gradients& into) const {
  if (into.inputs[0].empty()) return;
  const std::uint64_t length = group == 0 ? width_of(inputs[0]) : group;
  for (std::size_t i = 0; i < output_gradient.size(); ++i)
    into.inputs[0][i / count * length + begin + i % count] += output_gradient[i];
}

}  // namespace nibble
