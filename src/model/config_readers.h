// SPDX-License-Identifier: Apache-2.0
//
// The two ways in which a configuration is written, and the judgement that both pass through. Internal to model/.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "io/checkpoint.h"
#include "model/arch/architecture.h"
#include "model/config.h"
#include "model/known_family.h"

namespace nibble {

// What the container calls each value, so that messages name the key at fault.
struct ConfigKeys {
  std::string source;  // the file
  std::string vocab_size, hidden, intermediate, layers, heads, kv_heads, head_dim, context, norm_epsilon, rope_base,
      rope_factor, rope_low, rope_high, rope_original_context;
  std::string sliding_window = {}, sliding_rope_base = {}, num_experts = {}, experts_used = {},
              expert_intermediate = {}, rope_magnitude = {}, rope_query_growth = {}, full_head_dim = {},
              full_kv_heads = {}, sharing_layers = {}, per_layer_width = {}, sharing_intermediate = {},
              shared_intermediate = {}, delta_heads = {}, delta_key_heads = {}, delta_key_dim = {},
              delta_value_dim = {}, convolution_taps = {}, latent = {}, query_latent = {}, plain_key_dim = {},
              value_dim = {},  // where there are any
      attention_bias = {}, mlp_bias = {};
  std::string experts_switch = {};  // without which there are no experts, whatever their number; empty: none
};

ModelConfig read_huggingface_config(const Checkpoint& checkpoint, ConfigKeys& keys);
// Of a text alone. has_head: whether the weights have a head of their own, where nothing else says it.
ModelConfig read_huggingface_config(std::string_view text, const std::string& source, bool has_head, ConfigKeys& keys);
ModelConfig read_gguf_config(const Checkpoint& checkpoint, ConfigKeys& keys);

// Rotary positions. config: its sizes, heads and windows are read.
void read_huggingface_rope(const HuggingFaceFields& fields, const KnownFamily& family, ModelConfig& config,
                           ConfigKeys& keys);

// What the container of a readable configuration calls its values.
ConfigKeys config_keys(const Checkpoint& checkpoint);

// Error(corrupt) for values that no model has: zeros, heads that do not divide, sizes whose product would overflow.
void validate_config(const ModelConfig& config, const ConfigKeys& keys);

}  // namespace nibble
