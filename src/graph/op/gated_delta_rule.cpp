// SPDX-License-Identifier: Apache-2.0
#include "graph/op/gated_delta_rule.h"

#include <cmath>

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

void GatedDeltaRule::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  const std::span<const float> q = operands.inputs[0], k = operands.inputs[1], v = operands.inputs[2],
                               a = operands.inputs[3], b = operands.inputs[4];
  const std::span<const float> rates = operands.weight(rate), biases = operands.weight(bias);
  const std::uint64_t width = heads * value_dim, key_width = key_heads * key_dim;
  for (std::uint64_t h = 0; h < heads; ++h)
    for (std::uint64_t c = h * value_dim; c < (h + 1) * value_dim; ++c) {
      std::vector<double> column(key_dim);  // of S
      for (std::size_t t = 0; t < operands.tokens; ++t) {
        const std::span<const float> query = q.subspan(t * key_width + key_head_of(h) * key_dim, key_dim),
                                     key = k.subspan(t * key_width + key_head_of(h) * key_dim, key_dim);
        const double kept = std::exp(static_cast<double>(rates[h]) *
                                     softplus(static_cast<double>(a[t * heads + h]) + static_cast<double>(biases[h])));
        double known = 0, sum = 0;
        for (std::uint64_t i = 0; i < key_dim; ++i) known += (column[i] *= kept) * static_cast<double>(key[i]);
        const double error = static_cast<double>(v[t * width + c]) - known,
                     learnt = sigmoid(static_cast<double>(b[t * heads + h])) * error;
        for (std::uint64_t i = 0; i < key_dim; ++i)
          sum += (column[i] += static_cast<double>(key[i]) * learnt) * static_cast<double>(query[i]);
        output[t * width + c] = static_cast<float>(sum * static_cast<double>(scale));
      }
    }
}

}  // namespace nibble
