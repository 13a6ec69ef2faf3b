// SPDX-License-Identifier: Apache-2.0
#include "graph/op/latent_attention.h"

#include <algorithm>
#include <cmath>

namespace nibble {

Dimensions LatentAttention::output(std::span<const Dimensions> inputs) const {
  require_drawable(heads > 0 && key_dim > 0 && rotary_dim > 0 && value_dim > 0 && latent > 0, kName,
                   "heads without channels");
  require_drawable(width_of(inputs[0]) == heads * key_dim && width_of(inputs[1]) == heads * rotary_dim, kName,
                   "queries of another width");
  require_drawable(width_of(inputs[2]) == heads * (key_dim + value_dim) && width_of(inputs[3]) == rotary_dim, kName,
                   "keys or values of another width");
  return token_rows(heads * value_dim);
}

std::vector<WeightUse> LatentAttention::weights(std::span<const Dimensions>) const { return {}; }

// Positions are mixed, not channels: a factor of a channel may stand on its head's values.
std::vector<ScalePassage> LatentAttention::scale_passages(std::span<const Dimensions>) const {
  ScalePassage to_values{.absorber = {}, .input = 2, .channel_of = std::vector<std::uint32_t>(heads * value_dim)};
  for (std::uint64_t c = 0; c < heads * value_dim; ++c)
    to_values.channel_of[c] =
        static_cast<std::uint32_t>(c / value_dim * (key_dim + value_dim) + key_dim + c % value_dim);
  return {to_values};
}

Cost LatentAttention::cost(std::span<const Dimensions>) const {
  return {.per_token = 0, .per_earlier_token = heads * (key_dim + rotary_dim + value_dim)};
}

OnnxSpelling LatentAttention::onnx(std::span<const Dimensions>) const {
  OnnxSpelling s;
  s.refuse("attention to a latent vector has no cache of its own there");
  return s;
}

namespace {

// Where the numbers of a head lie, and what it sees of the tokens up to one of them, in f64.
struct Seen {
  const LatentAttention& op;
  const Operands& operands;
  std::uint64_t head;
  std::vector<double> shares = {};  // by token

  std::size_t plain(std::size_t t) const { return (t * op.heads + head) * op.key_dim; }
  std::size_t turned(std::size_t t) const { return (t * op.heads + head) * op.rotary_dim; }
  std::size_t key(std::size_t t) const { return (t * op.heads + head) * (op.key_dim + op.value_dim); }
  std::size_t value(std::size_t t) const { return key(t) + op.key_dim; }
  std::size_t shared(std::size_t t) const { return t * op.rotary_dim; }
  std::size_t out(std::size_t t) const { return (t * op.heads + head) * op.value_dim; }
  double number(std::size_t input, std::size_t at) const { return static_cast<double>(operands.inputs[input][at]); }

  void look_from(std::size_t t) {
    shares.assign(t + 1, 0);
    for (std::size_t s = 0; s <= t; ++s) {
      for (std::uint64_t i = 0; i < op.key_dim; ++i) shares[s] += number(0, plain(t) + i) * number(2, key(s) + i);
      for (std::uint64_t i = 0; i < op.rotary_dim; ++i)
        shares[s] += number(1, turned(t) + i) * number(3, shared(s) + i);
      shares[s] *= static_cast<double>(op.scale);
    }
    const double largest = *std::ranges::max_element(shares);
    double total = 0;
    for (double& share : shares) total += share = std::exp(share - largest);
    for (double& share : shares) share /= total;
  }
};

}  // namespace

void LatentAttention::evaluate(const Operands& operands, std::span<const Dimensions>, std::span<float> output) const {
  for (std::uint64_t head = 0; head < heads; ++head) {
    Seen seen{*this, operands, head};
    for (std::size_t t = 0; t < operands.tokens; ++t) {
      seen.look_from(t);
      for (std::uint64_t i = 0; i < value_dim; ++i) {
        double sum = 0;
        for (std::size_t s = 0; s <= t; ++s) sum += seen.shares[s] * seen.number(2, seen.value(s) + i);
        output[seen.out(t) + i] = static_cast<float>(sum);
      }
    }
  }
}

void LatentAttention::gradient(const Operands& operands, std::span<const Dimensions>,
                               std::span<const float> output_gradient, const Gradients& into) const {
  std::vector<std::vector<double>> sums;
  for (const std::span<const float> input : operands.inputs) sums.emplace_back(input.size());
  std::vector<double> by_share;
  for (std::uint64_t head = 0; head < heads; ++head) {
    Seen seen{*this, operands, head};
    for (std::size_t t = 0; t < operands.tokens; ++t) {
      seen.look_from(t);
      by_share.assign(t + 1, 0);
      double mean = 0;  // of what shares are worth, by the shares
      for (std::size_t s = 0; s <= t; ++s) {
        for (std::uint64_t i = 0; i < value_dim; ++i) {
          const double dy = static_cast<double>(output_gradient[seen.out(t) + i]);
          by_share[s] += dy * seen.number(2, seen.value(s) + i);
          sums[2][seen.value(s) + i] += dy * seen.shares[s];
        }
        mean += by_share[s] * seen.shares[s];
      }
      for (std::size_t s = 0; s <= t; ++s) {
        const double by_product = seen.shares[s] * (by_share[s] - mean) * static_cast<double>(scale);
        for (std::uint64_t i = 0; i < key_dim; ++i) {
          sums[0][seen.plain(t) + i] += by_product * seen.number(2, seen.key(s) + i);
          sums[2][seen.key(s) + i] += by_product * seen.number(0, seen.plain(t) + i);
        }
        for (std::uint64_t i = 0; i < rotary_dim; ++i) {
          sums[1][seen.turned(t) + i] += by_product * seen.number(3, seen.shared(s) + i);
          sums[3][seen.shared(s) + i] += by_product * seen.number(1, seen.turned(t) + i);
        }
      }
    }
  }
  for (std::size_t input = 0; input < sums.size(); ++input)
    for (std::size_t i = 0; i < into.inputs[input].size(); ++i)
      into.inputs[input][i] += static_cast<float>(sums[input][i]);
}

}  // namespace nibble
