// SPDX-License-Identifier: Apache-2.0
#include "graph/op/linear.h"

#include <algorithm>
#include <array>

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

// Sums of several tokens side by side, each in the order of the columns: products do not wait for one another.
void Linear::evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const {
  constexpr std::size_t kTogether = 8;
  const std::size_t cols = width_of(inputs[0]), num_rows = rows, tokens = operands.tokens;
  const std::span<const float> x = operands.inputs[0], w = operands.weight(part);
  const std::span<const float> b = has_bias ? operands.weight(bias()) : std::span<const float>{};
  const auto make = [&](std::size_t first_token, std::size_t end_token, std::size_t first_row, std::size_t end_row) {
    std::vector<double> turned(kTogether * cols);
    for (std::size_t t = first_token; t < end_token; t += kTogether) {
      const std::size_t count = std::min(kTogether, end_token - t);
      for (std::size_t k = 0; k < count; ++k)
        for (std::size_t i = 0; i < cols; ++i) turned[i * kTogether + k] = static_cast<double>(x[(t + k) * cols + i]);
      for (std::size_t row = first_row; row < end_row; ++row) {
        std::array<double, kTogether> sums;
        sums.fill(b.empty() ? 0 : static_cast<double>(b[row]));
        for (std::size_t i = 0; i < cols; ++i) {
          const auto factor = static_cast<double>(w[row * cols + i]);
          for (std::size_t k = 0; k < kTogether; ++k) sums[k] += turned[i * kTogether + k] * factor;
        }
        for (std::size_t k = 0; k < count; ++k) output[(t + k) * num_rows + row] = static_cast<float>(sums[k]);
      }
    }
  };
  constexpr std::size_t kWorthThreads = 1 << 14;
  if (operands.pool == nullptr || tokens * num_rows * cols < kWorthThreads) return make(0, tokens, 0, num_rows);
  if (tokens > kTogether)
    return operands.pool->parallel_for(
        tokens, kTogether, [&](std::size_t begin, std::size_t end, std::size_t) { make(begin, end, 0, num_rows); });
  operands.pool->parallel_for(num_rows, 16,
                              [&](std::size_t begin, std::size_t end, std::size_t) { make(0, tokens, begin, end); });
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
