// SPDX-License-Identifier: Apache-2.0
#include "graph/op/position_scale.h"

#include <cmath>

namespace nibble {

float PositionScale::factor(std::size_t position) const {
  return static_cast<float>(1 + static_cast<double>(growth) * std::log1p(static_cast<double>(position / period)));
}

Dimensions PositionScale::output(std::span<const Dimensions> inputs) const {
  require_drawable(period > 0, kName, "a period of no positions");
  return inputs[0];
}

std::vector<WeightUse> PositionScale::weights(std::span<const Dimensions>) const { return {}; }

std::vector<ScalePassage> PositionScale::scale_passages(std::span<const Dimensions>) const {
  return {{.absorber = {}, .input = 0, .channel_of = {}}};
}

Cost PositionScale::cost(std::span<const Dimensions> inputs) const { return {.per_token = width_of(inputs[0])}; }

OnnxSpelling PositionScale::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  const auto periods = s.apply(
      "Floor", {s.apply("Div", {s.surrounding(OnnxSurrounding::positions), s.number(static_cast<float>(period))})});
  const auto grown = s.apply("Mul", {s.apply("Log", {s.apply("Add", {periods, s.number(1)})}), s.number(growth)});
  s.apply("Mul", {s.input(0), s.apply("Add", {grown, s.number(1)})});
  return s;
}

void PositionScale::evaluate(const Operands& operands, std::span<const Dimensions> inputs,
                             std::span<float> output) const {
  const std::uint64_t width = width_of(inputs[0]);
  for (std::size_t i = 0; i < output.size(); ++i)
    output[i] = factor(operands.position + i / width) * operands.inputs[0][i];
}

void PositionScale::gradient(const Operands& operands, std::span<const Dimensions> inputs,
                             std::span<const float> output_gradient, const Gradients& into) const {
  const std::uint64_t width = width_of(inputs[0]);
  for (std::size_t i = 0; i < into.inputs[0].size(); ++i)
    into.inputs[0][i] += factor(operands.position + i / width) * output_gradient[i];
}

}  // namespace nibble
