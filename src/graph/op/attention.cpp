// SPDX-License-Identifier: Apache-2.0
#include "graph/op/attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

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

namespace {

// What one head of a token sees, in f64.
struct Seen {
  std::size_t first = 0;             // the first token that it attends to
  std::vector<double> scores;        // by token: scaled and bounded
  std::vector<double> exponentials;  // of them, relative to the largest
  double sink = 0, total = 0;        // the sink's exponential; the sum of all, it included

  Seen(const Attention& op, const Operands& operands, std::size_t t, std::uint64_t head) {
    const std::uint64_t dim = op.head_dim, width = op.heads * dim, kv_width = op.kv_heads * dim;
    const float* const query = &operands.inputs[0][t * width + head * dim];
    const float* const keys = &operands.inputs[1][head / (op.heads / op.kv_heads) * dim];
    first = op.window == 0 || t < op.window ? 0 : t + 1 - op.window;
    scores.resize(t + 1);
    exponentials.resize(t + 1);
    for (std::size_t s = first; s <= t; ++s) {
      double product = 0;
      for (std::uint64_t i = 0; i < dim; ++i)
        product += static_cast<double>(query[i]) * static_cast<double>(keys[s * kv_width + i]);
      scores[s] = product * static_cast<double>(op.scale);
      if (op.soft_cap != 0)
        scores[s] = static_cast<double>(op.soft_cap) * std::tanh(scores[s] / static_cast<double>(op.soft_cap));
    }
    double largest = *std::max_element(&scores[first], &scores[t] + 1);
    if (!op.sinks.empty()) {
      const double score = static_cast<double>(operands.weight(op.sinks)[head]);
      largest = std::max(largest, score);
      total = sink = std::exp(score - largest);
    }
    for (std::size_t s = first; s <= t; ++s) total += exponentials[s] = std::exp(scores[s] - largest);
  }
};

}  // namespace

void Attention::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  const std::uint64_t width = heads * head_dim, kv_width = kv_heads * head_dim;
  for (std::size_t t = 0; t < operands.tokens; ++t)
    for (std::uint64_t head = 0; head < heads; ++head) {
      const Seen seen(*this, operands, t, head);
      const float* const values = &operands.inputs[2][head / (heads / kv_heads) * head_dim];
      for (std::uint64_t i = 0; i < head_dim; ++i) {
        double sum = 0;
        for (std::size_t s = seen.first; s <= t; ++s)
          sum += seen.exponentials[s] * static_cast<double>(values[s * kv_width + i]);
        output[t * width + head * head_dim + i] = static_cast<float>(sum / seen.total);
      }
    }
}

void Attention::gradient(const Operands& operands, std::span<const Dimensions>, std::span<const float> output_gradient,
                         const Gradients& into) const {
  const std::uint64_t width = heads * head_dim, kv_width = kv_heads * head_dim;
  std::vector<double> by_queries(operands.tokens * width), by_keys(operands.tokens * kv_width),
      by_values(by_keys.size()), by_sinks(heads), by_share(operands.tokens);
  for (std::size_t t = 0; t < operands.tokens; ++t)
    for (std::uint64_t head = 0; head < heads; ++head) {
      const Seen seen(*this, operands, t, head);
      const std::size_t query = t * width + head * head_dim, kv = head / (heads / kv_heads) * head_dim;
      double mean = 0;  // of what shares are worth, by the shares
      for (std::size_t s = seen.first; s <= t; ++s) {
        by_share[s] = 0;
        for (std::uint64_t i = 0; i < head_dim; ++i) {
          const double dy = static_cast<double>(output_gradient[query + i]);
          by_share[s] += dy * static_cast<double>(operands.inputs[2][s * kv_width + kv + i]);
          by_values[s * kv_width + kv + i] += dy * seen.exponentials[s] / seen.total;
        }
        mean += by_share[s] * seen.exponentials[s] / seen.total;
      }
      by_sinks[head] -= mean * seen.sink / seen.total;
      for (std::size_t s = seen.first; s <= t; ++s) {
        double by_product = seen.exponentials[s] / seen.total * (by_share[s] - mean) * static_cast<double>(scale);
        const double bound = soft_cap == 0 ? 0 : seen.scores[s] / static_cast<double>(soft_cap);
        by_product *= 1 - bound * bound;
        for (std::uint64_t i = 0; i < head_dim; ++i) {
          by_queries[query + i] += by_product * static_cast<double>(operands.inputs[1][s * kv_width + kv + i]);
          by_keys[s * kv_width + kv + i] += by_product * static_cast<double>(operands.inputs[0][query + i]);
        }
      }
    }
  const auto add = [](const std::vector<double>& sums, std::span<float> place) {
    for (std::size_t i = 0; i < place.size(); ++i) place[i] += static_cast<float>(sums[i]);
  };
  add(by_queries, into.inputs[0]);
  add(by_keys, into.inputs[1]);
  add(by_values, into.inputs[2]);
  if (!sinks.empty()) add(by_sinks, into.weight(sinks));
}

}  // namespace nibble
