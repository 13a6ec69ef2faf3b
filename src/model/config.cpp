// SPDX-License-Identifier: Apache-2.0
#include "model/config.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "model/config_readers.h"
#include "model/config_text.h"
#include "nibble/error.h"

namespace nibble {

namespace {

// Beyond any model there is; small enough that products of two stay far from overflow.
constexpr std::uint64_t kMaxWidth = 1u << 20;
constexpr std::uint64_t kMaxHeads = 1u << 14;
constexpr std::uint64_t kMaxExperts = 4096, kMaxExpertsOfAll = 1u << 18;
constexpr std::uint64_t kMaxHeadDim = 1u << 13;
constexpr std::uint64_t kMaxVocab = 1u << 26;
constexpr std::uint64_t kMaxContext = 1u << 30;

[[noreturn]] void refuse(const ConfigKeys& keys, const std::string& what) {
  throw Error(ErrorKind::corrupt, keys.source + ": " + what);
}

void check_range(const ConfigKeys& keys, const std::string& key, std::uint64_t value, std::uint64_t maximum) {
  if (value < 1 || value > maximum) refuse(keys, fmt::format("{} must lie between 1 and {}: {}", key, maximum, value));
}

void check_rope(const RopeConfig& rope, const ConfigKeys& keys) {
  const auto check = [&](const std::string& key, double value, bool fine) {
    if (!fine) refuse(keys, fmt::format("{} makes no sense for rotary positions: {}", key, value));
  };
  check(keys.rope_base, rope.base, std::isfinite(rope.base) && rope.base > 1);
  check(keys.rope_factor, rope.factor, std::isfinite(rope.factor) && rope.factor > 0);
  if (rope.scaling == RopeScaling::llama3 || rope.scaling == RopeScaling::yarn) {
    check(keys.rope_low, rope.low_frequency_factor,
          std::isfinite(rope.low_frequency_factor) && rope.low_frequency_factor > 0);
    // Llama 3's blend divides by their difference; yarn's borders are kept apart, and Kimi K2's are the same.
    const double low = rope.low_frequency_factor, high = rope.high_frequency_factor;
    check(keys.rope_high, high, std::isfinite(high) && (rope.scaling == RopeScaling::yarn ? high >= low : high > low));
    check_range(keys, keys.rope_original_context, rope.original_context, kMaxContext);
  }
  if (rope.scaling == RopeScaling::longrope) {
    check_range(keys, keys.rope_original_context, rope.original_context, kMaxContext);
    for (const std::vector<float>* const factors : {&rope.short_factors, &rope.long_factors})
      for (const float factor : *factors)
        check("a factor of longrope", static_cast<double>(factor), std::isfinite(factor) && factor > 0);
    check("the factor that longrope multiplies by", static_cast<double>(rope.magnitude),
          std::isfinite(rope.magnitude) && rope.magnitude > 0);
  }
  if (rope.scaling == RopeScaling::yarn)
    check(keys.rope_magnitude, static_cast<double>(rope.magnitude),
          std::isfinite(rope.magnitude) && rope.magnitude > 0);
  check(keys.rope_query_growth, static_cast<double>(rope.query_growth),
        std::isfinite(rope.query_growth) && rope.query_growth >= 0);
  for (std::size_t i = 0; i < rope.frequency_divisors.size(); ++i)
    if (!std::isfinite(rope.frequency_divisors[i]) || rope.frequency_divisors[i] <= 0)
      refuse(keys, fmt::format("tensor rope_freqs.weight, element {}: divisors must be finite and positive: {}", i,
                               rope.frequency_divisors[i]));
}

// Layers that do not slide, where they differ, and those that share keys and values.
void check_full_layers(const ModelConfig& config, const ConfigKeys& keys) {
  if (config.full_head_dim != 0) check_range(keys, keys.full_head_dim, config.full_head_dim, kMaxHeadDim);
  if (config.full_head_dim % 2 != 0)
    refuse(keys, fmt::format("{} must be even for rotary positions: {}", keys.full_head_dim, config.full_head_dim));
  if (config.full_kv_heads != 0) check_range(keys, keys.full_kv_heads, config.full_kv_heads, config.heads);
  if (config.full_kv_heads != 0 && config.heads % config.full_kv_heads != 0)
    refuse(keys, fmt::format("{} must be a multiple of {}: {}, {}", keys.heads, keys.full_kv_heads, config.heads,
                             config.full_kv_heads));
  if (config.sharing_intermediate != 0)
    check_range(keys, keys.intermediate, config.sharing_intermediate, kMaxWidth * 4);
  if (config.per_layer_width != 0) check_range(keys, keys.per_layer_width, config.per_layer_width, kMaxWidth);
  if (config.per_layer_width * config.layers > kMaxWidth * 4)
    refuse(keys, fmt::format("{} in {} layers are more than any model has: {}", keys.per_layer_width, config.layers,
                             config.per_layer_width));
  for (std::uint64_t i = config.layers - std::min(config.layers, config.sharing_layers); i < config.layers; ++i) {
    std::uint64_t first = 0;
    const auto slides = [&](std::uint64_t layer) { return config.is_sliding(static_cast<std::int64_t>(layer)); };
    while (first + config.sharing_layers < config.layers && slides(first) != slides(i)) ++first;
    if (first + config.sharing_layers >= config.layers)
      refuse(keys, fmt::format("{} leaves no layer of its own kind that layer {} could share keys and values with: {}",
                               keys.sharing_layers, i, config.sharing_layers));
  }
}

}  // namespace

void validate_config(const ModelConfig& config, const ConfigKeys& keys) {
  check_range(keys, keys.vocab_size, config.vocab_size, kMaxVocab);
  check_range(keys, keys.hidden, config.hidden, kMaxWidth);
  check_range(keys, keys.intermediate, config.intermediate, kMaxWidth * 4);
  check_range(keys, keys.layers, config.layers, kMaxLayers);
  check_range(keys, keys.heads, config.heads, kMaxHeads);
  check_range(keys, keys.kv_heads, config.kv_heads, kMaxHeads);
  check_range(keys, keys.context, config.context, kMaxContext);
  if (config.heads % config.kv_heads != 0)
    refuse(keys, fmt::format("{} must be a multiple of {}: {}, {}", keys.heads, keys.kv_heads, config.heads,
                             config.kv_heads));
  if (config.head_dim == 0)
    refuse(keys, fmt::format("{} must be a multiple of {} when {} is absent: {}, {}", keys.hidden, keys.heads,
                             keys.head_dim, config.hidden, config.heads));
  check_range(keys, keys.head_dim, config.head_dim, kMaxHeadDim);
  if (config.head_dim % 2 != 0)
    refuse(keys, fmt::format("{} must be even for rotary positions: {}", keys.head_dim, config.head_dim));
  if (!std::isfinite(config.norm_epsilon) || config.norm_epsilon <= 0 || config.norm_epsilon >= 1)
    refuse(keys, fmt::format("{} must be a small positive number: {}", keys.norm_epsilon, config.norm_epsilon));
  if (config.num_experts != 0) {
    check_range(keys, keys.num_experts, config.num_experts, kMaxExperts);
    if (config.num_experts * config.layers > kMaxExpertsOfAll)
      refuse(keys, fmt::format("{} in {} layers are more experts than any model has: {}", keys.num_experts,
                               config.layers, config.num_experts));
    check_range(keys, keys.experts_used, config.experts_used, config.num_experts);
    check_range(keys, keys.expert_intermediate, config.expert_intermediate, kMaxWidth * 4);
  }
  check_full_layers(config, keys);
  check_rope(config.rope, keys);
  if (config.sliding_window != 0) check_range(keys, keys.sliding_window, config.sliding_window, kMaxContext);
  if (config.sliding_rope) {
    ConfigKeys own = keys;
    own.rope_base = keys.sliding_rope_base;
    check_rope(*config.sliding_rope, own);
  }
}

std::vector<bool> usual_sliding_layers(std::uint64_t layers, std::uint64_t full_every) {
  std::vector<bool> slides(layers, true);
  for (std::uint64_t i = full_every - 1; full_every != 0 && i < layers; i += full_every) slides[i] = false;
  return slides;
}

bool is_same_network(const ModelConfig& a, const ModelConfig& b) {
  const auto facts = [](const ModelConfig& c) {
    return std::tie(c.architecture, c.vocab_size, c.hidden, c.intermediate, c.layers, c.heads, c.kv_heads, c.head_dim,
                    c.tied_embedding, c.attention_soft_cap, c.logit_soft_cap, c.num_experts, c.experts_used,
                    c.expert_intermediate, c.normalizes_routing, c.shared_intermediate, c.dense, c.recurs,
                    c.delta_heads, c.delta_key_heads, c.delta_key_dim, c.delta_value_dim, c.convolution_taps,
                    c.routes_by_sigmoid, c.corrects_routing, c.groups_count_two, c.expert_groups, c.expert_groups_used,
                    c.routing_factor, c.latent, c.query_latent, c.plain_key_dim, c.value_dim, c.swiglu_alpha,
                    c.swiglu_limit, c.full_head_dim, c.full_kv_heads, c.full_keys_are_values, c.sharing_layers,
                    c.sharing_intermediate, c.per_layer_width, c.scales_layers, c.unturned, c.attention_scale,
                    c.embedding_scale, c.residual_scale, c.logit_divisor, c.routing_offset, c.norms_heads);
  };
  // GGUF files hold the logarithm's factor of what scores are multiplied by, in f32.
  return facts(a) == facts(b) && std::abs(a.score_factor - b.score_factor) <= 1e-5 * std::abs(b.score_factor);
}

namespace {

ModelConfig read_config(const Checkpoint& checkpoint, ConfigKeys& keys) {
  return checkpoint.kind() == ContainerKind::gguf ? read_gguf_config(checkpoint, keys)
                                                  : read_huggingface_config(checkpoint, keys);
}

}  // namespace

ModelConfig read_model_config(const Checkpoint& checkpoint) {
  ConfigKeys keys;
  ModelConfig config = read_config(checkpoint, keys);
  validate_config(config, keys);
  return config;
}

ModelConfig parse_model_config(std::string_view config_json, const std::string& source) {
  ConfigKeys keys;
  ModelConfig config = read_huggingface_config(config_json, source, true, keys);
  validate_config(config, keys);
  return config;
}

ConfigKeys config_keys(const Checkpoint& checkpoint) {
  ConfigKeys keys;
  read_config(checkpoint, keys);
  return keys;
}

}  // namespace nibble
