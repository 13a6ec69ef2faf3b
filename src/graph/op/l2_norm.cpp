// SPDX-License-Identifier: Apache-2.0
#include "graph/op/l2_norm.h"

#include <cmath>

namespace nibble {

Dimensions L2Norm::output(std::span<const Dimensions> inputs) const {
  require_drawable(group == 0 || width_of(inputs[0]) % group == 0, kName, "channels are not whole groups");
  return inputs[0];
}

std::vector<WeightUse> L2Norm::weights(std::span<const Dimensions>) const { return {}; }

// A factor of one channel changes all of its head.
std::vector<ScalePassage> L2Norm::scale_passages(std::span<const Dimensions>) const { return {}; }

Cost L2Norm::cost(std::span<const Dimensions> inputs) const { return {.per_token = 2 * width_of(inputs[0])}; }

OnnxSpelling L2Norm::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  OnnxOperand x = s.input(0);
  if (group != 0) x = s.apply("Reshape", {x, s.integers({0, 0, -1, static_cast<std::int64_t>(group)})});
  const auto squares = s.apply("Add", {s.apply("ReduceSumSquare", {x, s.integers({-1})}), s.number(epsilon)});
  const auto normed = s.apply("Div", {x, s.apply("Sqrt", {squares})});
  if (group != 0) s.apply("Reshape", {normed, s.integers({0, 0, -1})});
  return s;
}

void L2Norm::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const std::span<const float> x = operands.inputs[0];
  const std::uint64_t length = group == 0 ? width_of(inputs[0]) : group;
  for (std::size_t begin = 0; begin < x.size(); begin += length) {
    double squares = static_cast<double>(epsilon);
    for (std::size_t i = begin; i < begin + length; ++i)
      squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    for (std::size_t i = begin; i < begin + length; ++i)
      output[i] = static_cast<float>(static_cast<double>(x[i]) / std::sqrt(squares));
  }
}

void L2Norm::gradient(const Operands& operands, std::span<const Dimensions> inputs,
                      std::span<const float> output_gradient, const Gradients& into) const {
  const std::span<const float> x = operands.inputs[0];
  const std::uint64_t length = group == 0 ? width_of(inputs[0]) : group;
  for (std::size_t begin = 0; begin < into.inputs[0].size(); begin += length) {
    double squares = static_cast<double>(epsilon), along = 0;
    for (std::size_t i = begin; i < begin + length; ++i) {
      squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
      along += static_cast<double>(x[i]) * static_cast<double>(output_gradient[i]);
    }
    const double factor = 1 / std::sqrt(squares), turned = along / squares;
    for (std::size_t i = begin; i < begin + length; ++i)
      into.inputs[0][i] +=
          static_cast<float>(factor * (static_cast<double>(output_gradient[i]) - turned * static_cast<double>(x[i])));
  }
}

}  // namespace nibble
