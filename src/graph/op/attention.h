// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "graph/operation.h"

namespace nibble {

// Causal grouped-query attention (Ainslie et al. 2023): inputs queries [tokens, heads * head_dim], keys and values [tokens, kv_heads * head_dim].
// Query head h reads key and value head h / (heads / kv_heads). Its state, the keys and values of all tokens so far, belongs to a sequence.
struct Attention {
  static constexpr std::string_view kName = "attention";
  static constexpr std::size_t kInputs = 3;
  static constexpr GradientPlace kGradient = kNoGradientYet;
  static constexpr OnnxSpelling kOnnx = {"Attention"};

  std::uint64_t heads = 0, kv_heads = 0, head_dim = 0;
  float scale = 1;  // of the products of queries and keys
  bool operator==(const Attention&) const = default;

  Dimensions output(std::span<const Dimensions> inputs) const;
  std::vector<WeightUse> weights(std::span<const Dimensions> inputs) const;
  std::vector<ScalePassage> scale_passages(std::span<const Dimensions> inputs) const;
  Cost cost(std::span<const Dimensions> inputs) const;
  void evaluate(const Operands& operands, std::span<const Dimensions> inputs, std::span<float> output) const;
};

}  // namespace nibble
