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

OnnxSpelling Attention::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  const auto count = static_cast<std::int64_t>(heads), kept = static_cast<std::int64_t>(kv_heads);
  const auto length = static_cast<std::int64_t>(head_dim);
  const std::vector<OnnxSetting> heads_first = {{"perm", std::vector<std::int64_t>{0, 2, 1, 3}}};
  const auto by_head = [&](std::size_t input, std::int64_t number) {
    const auto x = s.apply("Reshape", {s.input(input), s.integers({0, 0, number, length})});
    return s.apply("Transpose", {x}, heads_first);
  };
  const std::vector<OnnxSetting> along_tokens = {{"axis", std::int64_t{2}}};
  const auto queries = by_head(0, count);
  const auto keys = s.apply("Concat", {s.surrounding(OnnxSurrounding::past_keys), by_head(1, kept)}, along_tokens);
  s.present.push_back(keys.index);
  const auto values = s.apply("Concat", {s.surrounding(OnnxSurrounding::past_values), by_head(2, kept)}, along_tokens);
  s.present.push_back(values.index);
  // The query heads that share a key head lie side by side: [batch, kv_heads, heads / kv_heads * tokens, head_dim]
  // would lose the mask's shape, so keys and values are repeated.
  const auto repeated = [&](const OnnxOperand& x) {
    if (count == kept) return x;
    const auto one = s.apply("Unsqueeze", {x, s.integers({2})});
    const auto many = s.apply("Expand", {one, s.integers({1, 1, count / kept, 1, 1})});
    return s.apply("Reshape", {many, s.integers({0, count, -1, length})});
  };
  const auto turned = s.apply("Transpose", {repeated(keys)}, {{"perm", std::vector<std::int64_t>{0, 1, 3, 2}}});
  OnnxOperand scores = s.apply("MatMul", {s.apply("Mul", {queries, s.number(scale)}), turned});
  if (soft_cap != 0)
    scores = s.apply("Mul", {s.apply("Tanh", {s.apply("Div", {scores, s.number(soft_cap)})}), s.number(soft_cap)});
  const OnnxOperand seen = s.apply("Add", {scores, s.surrounding(OnnxSurrounding::mask)});
  const std::vector<OnnxSetting> last_axis = {{"axis", std::int64_t{-1}}};
  OnnxOperand shares;
  if (sinks.empty()) {
    shares = s.apply("Softmax", {seen}, last_axis);
  } else {  // one more score of each head, which takes its share and gives nothing
    const auto one = s.apply("Slice", {scores, s.integers({0}), s.integers({1}), s.integers({-1})});
    const auto sink = s.apply("Reshape", {s.weight(sinks), s.integers({1, count, 1, 1})});
    const auto column = s.apply("Add", {s.apply("Mul", {one, s.number(0)}), sink});
    const auto all = s.apply("Softmax", {s.apply("Concat", {seen, column}, last_axis)}, last_axis);
    shares = s.apply("Slice", {all, s.integers({0}), s.integers({-1}), s.integers({-1})});
  }
  const auto mixed = s.apply("Transpose", {s.apply("MatMul", {shares, repeated(values)})}, heads_first);
  s.apply("Reshape", {mixed, s.integers({0, 0, count * length})});
  return s;
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
