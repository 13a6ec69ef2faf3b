// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/operation.h"

namespace nibble {

// Causal grouped-query attention (Ainslie et al. 2023): inputs queries [tokens, heads * head_dim], keys and values
// [tokens, kv_heads * head_dim]. Query head h reads key and value head h / (heads / kv_heads). With a window (Beltagy
// et al. 2020) a token attends to that many tokens, itself the last; with a soft cap its scores are bounded as SoftCap
// bounds numbers. With sinks (Xiao et al. 2023, OpenAI 2025) each head's softmax has one more score, the same for every
// token, whose value is zero. Its state, the keys and values of all tokens so far, belongs to a sequence.
struct Attention {
  static constexpr std::string_view kName = "attention";
  static constexpr std::size_t kInputs = 3;
  static constexpr GradientPlace kGradient = {};
  static constexpr bool kMixesTokens = true;

  std::uint64_t heads = 0, kv_heads = 0, head_dim = 0;
  float scale = 1;           // of the products of queries and keys
  std::uint64_t window = 0;  // 0: all tokens so far
  float soft_cap = 0;        // of scaled scores; 0: none
  std::string sinks = {};    // part [heads]: scores that are neither scaled nor bounded; empty: none
  bool operator==(const Attention&) const = default;

  Dimensions output(std::span<const Dimensions> inputs) const;
  std::vector<WeightUse> weights(std::span<const Dimensions> inputs) const;
  std::vector<ScalePassage> scale_passages(std::span<const Dimensions> inputs) const;
  Cost cost(std::span<const Dimensions> inputs) const;
  OnnxSpelling onnx(std::span<const Dimensions> inputs) const;
  void evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const;
  void gradient(const Operands& operands, std::span<const Dimensions> inputs, std::span<const float> output_gradient,
                const Gradients& into) const;
};

}  // namespace nibble
