// SPDX-License-Identifier: Apache-2.0
#include "graph/op/gated_delta_rule.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace nibble {
namespace {

double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

}  // namespace

Dimensions GatedDeltaRule::output(std::span<const Dimensions> inputs) const {
  require_drawable(key_heads > 0 && heads % key_heads == 0, kName, "heads do not share the key heads evenly");
  require_drawable(width_of(inputs[0]) == key_heads * key_dim && inputs[0] == inputs[1], kName,
                   "queries or keys of another width");
  require_drawable(width_of(inputs[2]) == heads * value_dim, kName, "values of another width");
  require_drawable(width_of(inputs[3]) == heads && inputs[3] == inputs[4], kName, "gates of other heads");
  return inputs[2];
}

std::vector<WeightUse> GatedDeltaRule::weights(std::span<const Dimensions>) const {
  return {{rate, TensorRole::coefficients, {heads}}, {bias, TensorRole::coefficients, {heads}}};
}

// Each channel of the values has a column of the state of its own, in which all is linear.
std::vector<ScalePassage> GatedDeltaRule::scale_passages(std::span<const Dimensions>) const {
  return {{.absorber = {}, .input = 2, .channel_of = {}}};
}

Cost GatedDeltaRule::cost(std::span<const Dimensions>) const { return {.per_token = 4 * state_size()}; }

OnnxSpelling GatedDeltaRule::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.refuse("no runtime here keeps a recurrent state of its own between steps");
  return s;
}

namespace {

// A column of a head's state: what it is before and after every token, and what the token changes. In f64.
struct Column {
  const GatedDeltaRule& op;
  const Operands& operands;
  std::uint64_t head, channel;  // the values' channel, of all heads'

  std::span<const float> query(std::size_t t) const { return of_key_head(0, t); }
  std::span<const float> key(std::size_t t) const { return of_key_head(1, t); }
  double value(std::size_t t) const { return number(2, t * op.heads * op.value_dim + channel); }
  // a + bias
  double forgets(std::size_t t) const {
    return number(3, t * op.heads + head) + static_cast<double>(operands.weight(op.bias)[head]);
  }
  double rate() const { return static_cast<double>(operands.weight(op.rate)[head]); }
  double kept(std::size_t t) const { return std::exp(rate() * softplus(forgets(t))); }
  double learns(std::size_t t) const { return sigmoid(number(4, t * op.heads + head)); }

  // after -> after the next token. Gives what the state knew of its value.
  double step(std::size_t t, std::span<double> state) const {
    const std::span<const float> k = key(t);
    const double share = kept(t);
    double known = 0;
    for (std::uint64_t i = 0; i < op.key_dim; ++i) known += (state[i] *= share) * static_cast<double>(k[i]);
    const double learnt = learns(t) * (value(t) - known);
    for (std::uint64_t i = 0; i < op.key_dim; ++i) state[i] += static_cast<double>(k[i]) * learnt;
    return known;
  }

 private:
  std::span<const float> of_key_head(std::size_t input, std::size_t t) const {
    return operands.inputs[input].subspan((t * op.key_heads + op.key_head_of(head)) * op.key_dim, op.key_dim);
  }
  double number(std::size_t input, std::size_t place) const {
    return static_cast<double>(operands.inputs[input][place]);
  }
};

// What a gradient of the whole operation is gathered in: by its inputs, by what is kept and learnt of a head's token.
struct DeltaSums {
  std::vector<double> queries, keys, values, kept, learns;
};

// From the last token to the first. states: of the column, [tokens + 1, key_dim]; known: of its values, [tokens].
void walk_back(const Column& column, std::span<const double> states, std::span<const double> known,
               std::span<const float> output_gradient, DeltaSums& sums) {
  const GatedDeltaRule& op = column.op;
  const std::uint64_t dim = op.key_dim, width = op.heads * op.value_dim;
  std::vector<double> by_state(dim);
  for (std::size_t t = column.operands.tokens; t-- > 0;) {
    const std::span<const float> q = column.query(t), k = column.key(t);
    const std::size_t key_place = (t * op.key_heads + op.key_head_of(column.head)) * dim;
    const double dy = static_cast<double>(output_gradient[t * width + column.channel]) * static_cast<double>(op.scale);
    const double kept = column.kept(t), learns = column.learns(t), error = column.value(t) - known[t];
    double by_learnt = 0;
    for (std::uint64_t i = 0; i < dim; ++i) {
      sums.queries[key_place + i] += dy * states[(t + 1) * dim + i];
      by_state[i] += dy * static_cast<double>(q[i]);
      by_learnt += by_state[i] * static_cast<double>(k[i]);
      sums.keys[key_place + i] += by_state[i] * learns * error;
    }
    const double by_error = learns * by_learnt;
    sums.values[t * width + column.channel] += by_error;
    sums.learns[t * op.heads + column.head] += by_learnt * error;
    double by_kept = 0;
    for (std::uint64_t i = 0; i < dim; ++i) {
      const double before = states[t * dim + i];
      sums.keys[key_place + i] -= by_error * kept * before;
      by_state[i] -= by_error * static_cast<double>(k[i]);
      by_kept += by_state[i] * before;
      by_state[i] *= kept;
    }
    sums.kept[t * op.heads + column.head] += by_kept;
  }
}

void add(std::span<const double> sums, std::span<float> place) {
  for (std::size_t i = 0; i < place.size(); ++i) place[i] += static_cast<float>(sums[i]);
}

}  // namespace

void GatedDeltaRule::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  for (std::uint64_t c = 0; c < heads * value_dim; ++c) {
    const Column column{*this, operands, c / value_dim, c};
    std::vector<double> state(key_dim);
    for (std::size_t t = 0; t < operands.tokens; ++t) {
      column.step(t, state);
      const std::span<const float> query = column.query(t);
      double sum = 0;
      for (std::uint64_t i = 0; i < key_dim; ++i) sum += state[i] * static_cast<double>(query[i]);
      output[t * heads * value_dim + c] = static_cast<float>(sum * static_cast<double>(scale));
    }
  }
}

void GatedDeltaRule::gradient(const Operands& operands, std::span<const Dimensions>,
                              std::span<const float> output_gradient, const Gradients& into) const {
  DeltaSums sums = {.queries = std::vector<double>(operands.inputs[0].size()),
                    .keys = std::vector<double>(operands.inputs[1].size()),
                    .values = std::vector<double>(operands.inputs[2].size()),
                    .kept = std::vector<double>(operands.inputs[3].size()),
                    .learns = std::vector<double>(operands.inputs[4].size())};
  std::vector<double> states((operands.tokens + 1) * key_dim), known(operands.tokens);
  for (std::uint64_t c = 0; c < heads * value_dim; ++c) {
    const Column column{*this, operands, c / value_dim, c};
    for (std::size_t t = 0; t < operands.tokens; ++t) {
      const std::span<double> next(&states[(t + 1) * key_dim], key_dim);
      std::copy_n(&states[t * key_dim], key_dim, next.begin());
      known[t] = column.step(t, next);
    }
    walk_back(column, states, known, output_gradient, sums);
  }
  std::vector<double> by_rate(heads), by_bias(heads);
  for (std::size_t i = 0; i < sums.kept.size(); ++i) {  // of token i / heads, head i % heads
    const Column column{*this, operands, i % heads, 0};
    const std::size_t t = i / heads;
    const double by_logarithm = sums.kept[i] * column.kept(t);
    by_rate[i % heads] += by_logarithm * softplus(column.forgets(t));
    sums.kept[i] = by_logarithm * column.rate() * sigmoid(column.forgets(t));
    by_bias[i % heads] += sums.kept[i];
    sums.learns[i] *= column.learns(t) * (1 - column.learns(t));
  }
  add(sums.queries, into.inputs[0]);
  add(sums.keys, into.inputs[1]);
  add(sums.values, into.inputs[2]);
  add(sums.kept, into.inputs[3]);
  add(sums.learns, into.inputs[4]);
  add(by_rate, into.weight(rate));
  add(by_bias, into.weight(bias));
}

}  // namespace nibble
