// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "graph/operation.h"

namespace nibble {

// The gated delta rule (Yang et al. 2024), one token after the other. Inputs: queries and keys [tokens, key_heads *
// key_dim], values [tokens, heads * value_dim], and for each head a number a that says how much is forgotten and a
// number b that says how much is learnt, both [tokens, heads]. Each head keeps a matrix S [key_dim, value_dim], at
// first 0:
//
//   S <- e^(rate * softplus(a + bias)) S
//   S <- S + k (sigmoid(b) * (v - S^T k))^T
//   y = scale * S^T q
//
// rate [heads] is negative. The matrices, one below the other, are the state, which belongs to a sequence.
struct GatedDeltaRule {
  static constexpr std::string_view kName = "gated_delta_rule";
  static constexpr std::size_t kInputs = 5;
  static constexpr GradientPlace kGradient = {};
  static constexpr bool kMixesTokens = true;

  std::string rate, bias;  // parts
  std::uint64_t key_heads = 0, heads = 0, key_dim = 0, value_dim = 0;
  float scale = 1;           // usually 1 / sqrt(key_dim)
  bool tiles_heads = false;  // head h reads key head h % key_heads; else h / (heads / key_heads)
  bool operator==(const GatedDeltaRule&) const = default;

  Dimensions output(std::span<const Dimensions> inputs) const;
  std::vector<WeightUse> weights(std::span<const Dimensions> inputs) const;
  std::vector<ScalePassage> scale_passages(std::span<const Dimensions> inputs) const;
  Cost cost(std::span<const Dimensions> inputs) const;
  OnnxSpelling onnx(std::span<const Dimensions> inputs) const;
  void evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const;
  void gradient(const Operands& operands, std::span<const Dimensions> inputs, std::span<const float> output_gradient,
                const Gradients& into) const;

  std::uint64_t key_head_of(std::uint64_t head) const {
    return tiles_heads ? head % key_heads : head / (heads / key_heads);
  }
  std::uint64_t state_size() const { return heads * key_dim * value_dim; }
};

}  // namespace nibble
