// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "graph/operation.h"

namespace nibble {

// Causal multi-head latent attention (MLA; DeepSeek-V2 2024, section 2.1): keys and values of all heads are made of one
// short vector a token, the latent, and keys end in channels that turn and that heads share. Inputs: the queries'
// channels that stand still [tokens, heads * key_dim] and those that turn [tokens, heads * rotary_dim]; what a Linear
// makes of the latent, of each head a key and a value [tokens, heads * (key_dim + value_dim)]; the keys' channels that
// turn [tokens, rotary_dim]. Output: [tokens, heads * value_dim]. Its state, which belongs to a sequence, is the latent
// and the turned channels of all tokens so far: an engine may take queries to the latent instead of keys to the heads.
struct LatentAttention {
  static constexpr std::string_view kName = "latent_attention";
  static constexpr std::size_t kInputs = 4;
  static constexpr GradientPlace kGradient = {};
  static constexpr bool kMixesTokens = true;

  std::uint64_t heads = 0, key_dim = 0, rotary_dim = 0, value_dim = 0;
  std::uint64_t latent = 0;  // numbers of the vector that keys and values are made of
  float scale = 1;           // of the products of queries and keys
  bool operator==(const LatentAttention&) const = default;

  std::uint64_t kept_width() const { return latent + rotary_dim; }  // of a token, in the state

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
