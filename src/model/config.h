// SPDX-License-Identifier: Apache-2.0
//
// What a decoder needs to know about a model, read from config.json or from GGUF keys.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "io/checkpoint.h"

namespace nibble {

enum class RopeScaling { none, linear, llama3 };

struct RopeConfig {
  double base = 10000;
  std::uint64_t rotary_dim = 0;   // dimensions of a head that rotate
  bool half_split = true;         // pairs (i, i + d/2) as in HF; false: (2i, 2i+1) as in GGUF files of arch llama
  RopeScaling scaling = RopeScaling::none;
  double factor = 1, low_frequency_factor = 1, high_frequency_factor = 4;
  std::uint64_t original_context = 8192;
  std::vector<float> frequency_divisors;  // GGUF rope_freqs.weight, [rotary_dim / 2]; empty when absent
};

struct ModelConfig {
  std::string architecture;   // "llama": our name for the family
  std::uint64_t vocab_size = 0, hidden = 0, intermediate = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, context = 0;
  float norm_epsilon = 1e-6f;
  bool tied_embedding = false;
  bool attention_bias = false;  // q, k and v
  bool output_bias = false;     // o
  bool mlp_bias = false;        // gate, up and down
  // Attention in a sliding window is run only where it equals full attention: context is then the smaller of the two lengths.
  std::uint64_t sliding_window = 0;    // 0: none
  std::uint64_t declared_context = 0;  // as the checkpoint says it
  RopeConfig rope;
};

// Names the tensors of a layer in the checkpoint's own spelling, and reads the configuration from either container.
// Error(unsupported) for an unknown architecture (lists the known), Error(corrupt) for absurd or missing values.
ModelConfig read_model_config(const Checkpoint& checkpoint);

// Inverse frequencies [rotary_dim / 2] with scaling applied (formulas: Hugging Face modeling_rope_utils; Llama 3.1 model card).
std::vector<double> rope_inverse_frequencies(const RopeConfig& rope);

}  // namespace nibble
