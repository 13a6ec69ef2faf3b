// SPDX-License-Identifier: Apache-2.0
#include "graph/op/expert_linear.h"

#include <algorithm>

namespace nibble {

Dimensions ExpertLinear::output(std::span<const Dimensions> inputs) const {
  require_drawable(inputs[1].size() == 2 && width_of(inputs[1]) > 0, kName, "a routing of another shape");
  const std::uint64_t experts = width_of(inputs[1]);
  require_drawable(inputs[0].size() == 2 || (inputs[0].size() == 3 && inputs[0][1] == Dimension{Axis::expert, experts}),
                   kName, "inputs of other experts");
  return {{Axis::token, 0}, {Axis::expert, experts}, {Axis::channel, rows}};
}

std::vector<WeightUse> ExpertLinear::weights(std::span<const Dimensions> inputs) const {
  std::vector<WeightUse> uses;
  for (std::uint64_t e = 0; e < width_of(inputs[1]); ++e)
    uses.push_back({expert_part(part, e), TensorRole::linear, {rows, width_of(inputs[0])}});
  for (std::uint64_t e = 0; has_bias && e < width_of(inputs[1]); ++e)
    uses.push_back({expert_part(bias(), e), TensorRole::bias, {rows}});
  return uses;
}

// Rows make channels, each its own; the bias goes with them.
std::vector<ScalePassage> ExpertLinear::scale_passages(std::span<const Dimensions>) const {
  return {{.absorber = part, .input = 0, .channel_of = {}, .is_by_expert = true}};
}

// Of all experts; a token pays for those that it is routed to.
Cost ExpertLinear::cost(std::span<const Dimensions> inputs) const {
  return {.per_token = width_of(inputs[1]) * rows * width_of(inputs[0])};
}

OnnxSpelling ExpertLinear::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.refuse("experts that tokens are sent to would all be computed for every token");
  return s;
}

void ExpertLinear::evaluate(const Operands& operands, std::span<const Dimensions> inputs,
                            std::span<float> output) const {
  const std::uint64_t experts = width_of(inputs[1]), cols = width_of(inputs[0]);
  const bool has_own = inputs[0].size() == 3;
  std::ranges::fill(output, 0.0f);
  for (std::uint64_t e = 0; e < experts; ++e) {
    const std::span<const float> weight = operands.weight(expert_part(part, e));
    const std::span<const float> b = has_bias ? operands.weight(expert_part(bias(), e)) : std::span<const float>{};
    for (std::size_t t = 0; t < operands.tokens; ++t) {
      if (operands.inputs[1][t * experts + e] == 0) continue;
      const std::span<const float> x = operands.inputs[0].subspan((has_own ? t * experts + e : t) * cols, cols);
      for (std::uint64_t row = 0; row < rows; ++row) {
        double sum = b.empty() ? 0 : static_cast<double>(b[row]);
        for (std::uint64_t i = 0; i < cols; ++i)
          sum += static_cast<double>(weight[row * cols + i]) * static_cast<double>(x[i]);
        output[(t * experts + e) * rows + row] = static_cast<float>(sum);
      }
    }
  }
}

void ExpertLinear::gradient(const Operands& operands, std::span<const Dimensions> inputs,
                            std::span<const float> output_gradient, const Gradients& into) const {
  const std::uint64_t experts = width_of(inputs[1]), cols = width_of(inputs[0]);
  const bool has_own = inputs[0].size() == 3;
  for (std::uint64_t e = 0; e < experts; ++e) {
    const std::span<const float> w = operands.weight(expert_part(part, e));
    const std::span<float> by_w = into.weight(expert_part(part, e)),
                           by_bias = has_bias ? into.weight(expert_part(bias(), e)) : std::span<float>{};
    std::vector<double> w_sums(by_w.size()), bias_sums(by_bias.size());
    for (std::size_t t = 0; t < operands.tokens; ++t) {
      if (operands.inputs[1][t * experts + e] == 0) continue;
      const std::size_t place = (has_own ? t * experts + e : t) * cols;
      const std::span<const float> x = operands.inputs[0].subspan(place, cols);
      const std::span<const float> dy = output_gradient.subspan((t * experts + e) * rows, rows);
      for (std::uint64_t i = 0; i < cols && !into.inputs[0].empty(); ++i) {
        double sum = 0;
        for (std::uint64_t row = 0; row < rows; ++row)
          sum += static_cast<double>(dy[row]) * static_cast<double>(w[row * cols + i]);
        into.inputs[0][place + i] += static_cast<float>(sum);
      }
      for (std::size_t i = 0; i < w_sums.size(); ++i)
        w_sums[i] += static_cast<double>(dy[i / cols]) * static_cast<double>(x[i % cols]);
      for (std::size_t row = 0; row < bias_sums.size(); ++row) bias_sums[row] += static_cast<double>(dy[row]);
    }
    for (std::size_t i = 0; i < w_sums.size(); ++i) by_w[i] += static_cast<float>(w_sums[i]);
    for (std::size_t i = 0; i < bias_sums.size(); ++i) by_bias[i] += static_cast<float>(bias_sums[i]);
  }
}

}  // namespace nibble
