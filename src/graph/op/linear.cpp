// SPDX-License-Identifier: Apache-2.0
#include "graph/op/linear.h"

namespace nibble {

Dimensions Linear::output(std::span<const Dimensions> inputs) const {
  Dimensions shape = inputs[0];
  shape.back().extent = rows;
  return shape;
}

std::vector<WeightUse> Linear::weights(std::span<const Dimensions> inputs) const {
  std::vector<WeightUse> uses = {{part, role, {rows, width_of(inputs[0])}}};
  if (has_bias) uses.push_back({bias(), TensorRole::bias, {rows}});
  return uses;
}

// Rows make channels, each its own; the bias goes with them.
std::vector<ScalePassage> Linear::scale_passages(std::span<const Dimensions>) const {
  return {{.absorber = part, .channel_of = {}}};
}

Cost Linear::cost(std::span<const Dimensions> inputs) const { return {.per_token = rows * width_of(inputs[0])}; }

OnnxSpelling Linear::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  const auto product = s.apply("MatMul", {s.input(0), s.columns(part)});
  if (has_bias) s.apply("Add", {product, s.weight(bias())});
  return s;
}

void Linear::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  const std::uint64_t cols = width_of(inputs[0]);
  const std::span<const float> x = operands.inputs[0], w = operands.weight(part);
  const std::span<const float> b = has_bias ? operands.weight(bias()) : std::span<const float>{};
  for (std::size_t t = 0; t < operands.tokens; ++t)
    for (std::uint64_t row = 0; row < rows; ++row) {
      double sum = b.empty() ? 0 : static_cast<double>(b[row]);
      for (std::uint64_t i = 0; i < cols; ++i)
        sum += static_cast<double>(x[t * cols + i]) * static_cast<double>(w[row * cols + i]);
      output[t * rows + row] = static_cast<float>(sum);
    }
}

void Linear::gradient(const Operands& operands, std::span<const Dimensions> inputs,
                      std::span<const float> output_gradient, const Gradients& into) const {
  const std::uint64_t cols = width_of(inputs[0]);
  const std::span<const float> x = operands.inputs[0], w = operands.weight(part);
  const std::span<float> by_x = into.inputs[0], by_w = into.weight(part),
                         by_bias = has_bias ? into.weight(bias()) : std::span<float>{};
  const auto dy = [&](std::size_t t, std::uint64_t row) {
    return static_cast<double>(output_gradient[t * rows + row]);
  };
  for (std::size_t i = 0; i < by_x.size(); ++i) {
    double sum = 0;
    for (std::uint64_t row = 0; row < rows; ++row)
      sum += dy(i / cols, row) * static_cast<double>(w[row * cols + i % cols]);
    by_x[i] += static_cast<float>(sum);
  }
  for (std::size_t i = 0; i < by_w.size(); ++i) {
    double sum = 0;
    for (std::size_t t = 0; t < operands.tokens; ++t)
      sum += dy(t, i / cols) * static_cast<double>(x[t * cols + i % cols]);
    by_w[i] += static_cast<float>(sum);
  }
  for (std::size_t row = 0; row < by_bias.size(); ++row) {
    double sum = 0;
    for (std::size_t t = 0; t < operands.tokens; ++t) sum += dy(t, row);
    by_bias[row] += static_cast<float>(sum);
  }
}

}  // namespace nibble
