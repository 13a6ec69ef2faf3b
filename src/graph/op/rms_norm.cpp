// SPDX-License-Identifier: Apache-2.0
#include "graph/op/rms_norm.h"

#include <cmath>

namespace nibble {

Dimensions RmsNorm::output(std::span<const Dimensions> inputs) const {
  require_drawable(group == 0 || width_of(inputs[0]) % group == 0, kName, "channels are not whole groups");
  return inputs[0];
}

std::vector<WeightUse> RmsNorm::weights(std::span<const Dimensions> inputs) const {
  return {{part, TensorRole::norm, {group == 0 ? width_of(inputs[0]) : group}}};
}

// Groups share their weights, so channels of different groups would need the same factor.
std::vector<ScalePassage> RmsNorm::scale_passages(std::span<const Dimensions> inputs) const {
  if (group != 0 && group != width_of(inputs[0])) return {};
  return {{.absorber = part, .channel_of = {}}};
}

Cost RmsNorm::cost(std::span<const Dimensions> inputs) const { return {.per_token = 2 * width_of(inputs[0])}; }

OnnxSpelling RmsNorm::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  OnnxOperand x = s.input(0);
  const auto length = static_cast<std::int64_t>(group);
  if (group != 0) x = s.apply("Reshape", {x, s.integers({0, 0, -1, length})});
  const auto mean = s.apply("ReduceMean", {s.apply("Pow", {x, s.number(2)}), s.integers({-1})});
  const auto root = s.apply("Sqrt", {s.apply("Add", {mean, s.number(epsilon)})});
  const auto normed = s.apply("Mul", {s.apply("Div", {x, root}), s.weight(part)});
  if (group != 0) s.apply("Reshape", {normed, s.integers({0, 0, -1})});
  return s;
}

void RmsNorm::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const std::span<const float> x = operands.inputs[0], w = operands.weight(part);
  const std::uint64_t length = group == 0 ? width_of(inputs[0]) : group;
  for (std::size_t begin = 0; begin < x.size(); begin += length) {
    double squares = 0;
    for (std::size_t i = begin; i < begin + length; ++i)
      squares += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    const double factor = 1 / std::sqrt(squares / static_cast<double>(length) + static_cast<double>(epsilon));
    for (std::size_t i = 0; i < length; ++i)
      output[begin + i] = static_cast<float>(static_cast<double>(x[begin + i]) * factor * static_cast<double>(w[i]));
  }
}

void RmsNorm::gradient(const Operands& operands, std::span<const Dimensions> inputs,
                       std::span<const float> output_gradient, const Gradients& into) const {
  const std::span<const float> x = operands.inputs[0], w = operands.weight(part);
  const std::span<float> by_x = into.inputs[0], by_weight = into.weight(part);
  const std::uint64_t length = group == 0 ? width_of(inputs[0]) : group;
  std::vector<double> sums(by_weight.size());
  for (std::size_t begin = 0; begin < x.size(); begin += length) {
    const std::span<const float> head = x.subspan(begin, length), dy = output_gradient.subspan(begin, length);
    double squares = 0, along = 0;
    for (std::size_t i = 0; i < length; ++i) {
      const double value = static_cast<double>(head[i]);
      squares += value * value;
      along += value * static_cast<double>(dy[i]) * static_cast<double>(w[i]);
    }
    const double mean = squares / static_cast<double>(length) + static_cast<double>(epsilon);
    const double factor = 1 / std::sqrt(mean), turned = along / (mean * static_cast<double>(length));
    for (std::size_t i = 0; i < length && !by_x.empty(); ++i)
      by_x[begin + i] += static_cast<float>(
          factor * (static_cast<double>(dy[i]) * static_cast<double>(w[i]) - turned * static_cast<double>(head[i])));
    for (std::size_t i = 0; i < sums.size(); ++i)
      sums[i] += static_cast<double>(dy[i]) * static_cast<double>(head[i]) * factor;
  }
  for (std::size_t i = 0; i < sums.size(); ++i) by_weight[i] += static_cast<float>(sums[i]);
}

}  // namespace nibble
