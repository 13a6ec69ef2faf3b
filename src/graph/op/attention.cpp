// SPDX-License-Identifier: Apache-2.0
#include "graph/op/attention.h"

#include <algorithm>
#include <cmath>

namespace nibble {

Dimensions Attention::output(std::span<const Dimensions> inputs) const {
  require_drawable(kv_heads > 0 && heads % kv_heads == 0, kName, "heads do not share the key heads evenly");
  require_drawable(soft_cap >= 0, kName, "a soft cap that is negative");
  require_drawable(width_of(inputs[0]) == heads * head_dim, kName, "queries of another width");
  require_drawable(width_of(inputs[1]) == kv_heads * head_dim && inputs[1] == inputs[2], kName,
                   "keys or values of another width");
  return inputs[0];
}

std::vector<WeightUse> Attention::weights(std::span<const Dimensions>) const {
  if (sinks.empty()) return {};
  return {{sinks, TensorRole::bias, {heads}}};
}

// Positions are mixed, not channels: a factor of a channel may stand on the values, where all query heads that read it
// agree.
std::vector<ScalePassage> Attention::scale_passages(std::span<const Dimensions>) const {
  ScalePassage to_values{.absorber = {}, .input = 2, .channel_of = std::vector<std::uint32_t>(heads * head_dim)};
  for (std::uint64_t c = 0; c < heads * head_dim; ++c)
    to_values.channel_of[c] = static_cast<std::uint32_t>(c / head_dim / (heads / kv_heads) * head_dim + c % head_dim);
  return {to_values};
}

Cost Attention::cost(std::span<const Dimensions>) const {
  return {.per_token = 0, .per_earlier_token = 2 * heads * head_dim};
}

void Attention::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  const std::span<const float> q = operands.inputs[0], k = operands.inputs[1], v = operands.inputs[2];
  const std::uint64_t width = heads * head_dim, kv_width = kv_heads * head_dim;
  const std::span<const float> sink = sinks.empty() ? std::span<const float>{} : operands.weight(sinks);
  std::vector<double> weights(operands.tokens);
  for (std::size_t t = 0; t < operands.tokens; ++t)
    for (std::uint64_t head = 0; head < heads; ++head) {
      const std::uint64_t kv = head / (heads / kv_heads) * head_dim;
      const std::size_t first = window == 0 || t < window ? 0 : t + 1 - window;
      for (std::size_t s = first; s <= t; ++s) {
        double product = 0;
        for (std::uint64_t i = 0; i < head_dim; ++i)
          product +=
              static_cast<double>(q[t * width + head * head_dim + i]) * static_cast<double>(k[s * kv_width + kv + i]);
        weights[s] = product * static_cast<double>(scale);
        if (soft_cap != 0)
          weights[s] = static_cast<double>(soft_cap) * std::tanh(weights[s] / static_cast<double>(soft_cap));
      }
      double largest = *std::max_element(&weights[first], &weights[t] + 1), total = 0;
      if (!sink.empty()) {
        largest = std::max(largest, static_cast<double>(sink[head]));
        total = std::exp(static_cast<double>(sink[head]) - largest);
      }
      for (std::size_t s = first; s <= t; ++s) total += weights[s] = std::exp(weights[s] - largest);
      for (std::uint64_t i = 0; i < head_dim; ++i) {
        double sum = 0;
        for (std::size_t s = first; s <= t; ++s) sum += weights[s] * static_cast<double>(v[s * kv_width + kv + i]);
        output[t * width + head * head_dim + i] = static_cast<float>(sum / total);
      }
    }
}

}  // namespace nibble
