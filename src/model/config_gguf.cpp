// SPDX-License-Identifier: Apache-2.0
//
// The keys of GGUF files, as llama.cpp reads them: {arch}.NAME, where {arch} is the value of general.architecture.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "model/config_readers.h"
#include "model/foreign_quantization.h"
#include "model/gguf_keys.h"
#include "model/undrawn_networks.h"
#include "nibble/error.h"
#include "tensor/shape.h"

namespace nibble {

namespace {

using Keys = GgufKeys;

constexpr std::string_view kEmbeddingName = "token_embd.weight";

const Architecture& find_gguf_architecture(const std::string& name, const std::string& source) {
  std::string known;
  for (const Architecture& architecture : all_architectures()) {
    if (architecture.gguf_name == name) return architecture;
    known += (known.empty() ? "" : ", ") + std::string(architecture.gguf_name);
  }
  if (const auto undrawn = undrawn_network(name))
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: general.architecture '{}' is {}; known are {}", source, name, *undrawn, known));
  throw Error(ErrorKind::unsupported,
              fmt::format("{}: unknown general.architecture '{}'; known are {}", source, name, known));
}

// llama.cpp multiplies by attn_factor what follows from the factor. What turns often and seldom its converter writes
// for every family, and what is multiplied by under another name.
void read_yarn(const Keys& keys, const Architecture& architecture, double factor, std::uint64_t context,
               RopeConfig& rope) {
  rope.scaling = RopeScaling::yarn;
  rope.whole_borders = architecture.gguf_whole_borders;
  rope.factor = factor;
  rope.original_context = keys.integer("rope.scaling.original_context_length").value_or(context);
  rope.high_frequency_factor = keys.number("rope.scaling.yarn_beta_fast").value_or(kYarnFastTurns);
  rope.low_frequency_factor = keys.number("rope.scaling.yarn_beta_slow").value_or(kYarnSlowTurns);
  const double multiplier = keys.number("rope.scaling.yarn_log_multiplier").value_or(0);
  const auto require = [&](std::string_view key, double value, double usual) {
    if (value != usual)
      keys.unsupported(fmt::format("yarn can only be run with {} {}: {}", keys.full(key), usual, value));
  };
  require("rope.scaling.yarn_ext_factor", keys.number("rope.scaling.yarn_ext_factor").value_or(1), 1);
  if (!architecture.gguf_yarn_keys && !architecture.has_latent)
    require("rope.scaling.yarn_log_multiplier", multiplier, 0);
  const double usual = yarn_magnitude(factor) / (multiplier == 0 ? 1 : yarn_magnitude(factor, multiplier));
  rope.magnitude = static_cast<float>(keys.number("rope.scaling.yarn_attn_factor")
                                          .value_or(keys.number("rope.scaling.attn_factor").value_or(1) * usual));
}

void read_scaling(const Keys& keys, const Architecture& architecture, std::uint64_t context, RopeConfig& rope) {
  const auto factor =
      keys.number("rope.scaling.factor") ? keys.number("rope.scaling.factor") : keys.number("rope.scale_linear");
  const bool is_long = rope.scaling == RopeScaling::longrope;  // its tensors say so, with or without the word
  const std::string type = keys.string("rope.scaling.type").value_or(is_long ? "longrope" : "linear");
  if (is_long ? type != "longrope" : type != "none" && type != "linear" && type != "yarn")
    keys.unsupported(fmt::format("rotary scaling can be none, linear, yarn or, where its tensors are, longrope; {}: {}",
                                 keys.full("rope.scaling.type"), type));
  if (is_long) return;
  if (type == "yarn" && factor.value_or(0) != 0) return read_yarn(keys, architecture, *factor, context, rope);
  if (keys.number("rope.scaling.attn_factor").value_or(1) != 1)
    keys.unsupported(keys.full("rope.scaling.attn_factor") + " other than 1 cannot be run");
  // A factor of 0 is llama.cpp's way of saying that nothing was set.
  if (type == "linear" && factor.value_or(0) != 0 && *factor != 1) {
    rope.scaling = RopeScaling::linear;
    rope.factor = *factor;
  }
}

// One of the tensors that rotary positions are divided by; empty: there is none.
std::vector<float> read_divisors(const Checkpoint& checkpoint, const std::string& source, const Keys& keys,
                                 std::string_view name, std::uint64_t pairs) {
  const StoredTensor* stored = checkpoint.find(name);
  if (stored == nullptr) return {};
  if (!is_same_shape(stored->shape, {pairs}))
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: tensor '{}' is {}, but the file's header ({}: {}) asks for [{}]", source, name,
                            shape_text(stored->shape), keys.full("rope.dimension_count"), 2 * pairs, pairs));
  if (!stored->values.format())
    throw Error(ErrorKind::unsupported, fmt::format("{}: tensor '{}' has elements that are no weights: {}", source,
                                                    name, dtype_name(stored->dtype)));
  std::vector<float> divisors(pairs);
  stored->values.decode_row(0, divisors);
  return divisors;
}

void read_rope_tensors(const Checkpoint& checkpoint, const std::string& source, const Keys& keys, ModelConfig& config) {
  RopeConfig& rope = config.rope;
  const std::uint64_t pairs = rope.rotary_dim / 2;
  rope.frequency_divisors = read_divisors(checkpoint, source, keys, kRopeDivisorsName, pairs);
  rope.short_factors = read_divisors(checkpoint, source, keys, kShortRopeFactorsName, pairs);
  rope.long_factors = read_divisors(checkpoint, source, keys, kLongRopeFactorsName, pairs);
  if (rope.short_factors.empty() != rope.long_factors.empty())
    throw Error(ErrorKind::corrupt, fmt::format("{}: of the tensors {} and {} only one is there", source,
                                                kShortRopeFactorsName, kLongRopeFactorsName));
  if (rope.long_factors.empty()) return;
  rope.scaling = RopeScaling::longrope;
  rope.original_context = keys.integer("rope.scaling.original_context_length").value_or(config.context);
  rope.magnitude = static_cast<float>(keys.number("rope.scaling.attn_factor").value_or(1));
}

std::uint64_t read_vocab(const Checkpoint& checkpoint, const Keys& keys) {
  // llama.cpp takes the number of tokens; the embedding's rows are what must agree, and exist even without a tokenizer.
  const StoredTensor* embedding = checkpoint.find(kEmbeddingName);
  const auto said = keys.integer("vocab_size");
  if (embedding == nullptr || embedding->shape.empty()) return said.value_or(0);
  const std::uint64_t rows = matrix_size(embedding->shape).rows;  // [n] is one row of n
  const auto refuse = [&](const std::string& what, std::uint64_t count) {
    keys.contradicts(fmt::format("{} must be as many as the rows of {} ({}): {}", what, kEmbeddingName, rows, count));
  };
  if (said && *said != rows) refuse(keys.full("vocab_size"), *said);
  const GgufValue* const tokens = checkpoint.gguf().find("tokenizer.ggml.tokens");
  if (tokens != nullptr && tokens->type == GgufType::array)
    if (const std::uint64_t count = std::get<GgufArray>(tokens->value).size(); count != rows)
      refuse("tokenizer.ggml.tokens", count);
  return rows;
}

// llama.cpp reads no window of some families whose checkpoints have one; the key is the same.
void read_windows(const Keys& keys, const Architecture& architecture, ModelConfig& config, ConfigKeys& names) {
  names.sliding_window = keys.full("attention.sliding_window");
  config.sliding_window = keys.integer("attention.sliding_window").value_or(architecture.gguf_default_window);
  if (config.sliding_window == 0 && architecture.gguf_default_window != 0)
    keys.wrong("attention.sliding_window", "must be at least 1 where layers slide: 0");
  if (config.sliding_window == 0 || config.layers > kMaxLayers) return;
  constexpr std::string_view kPattern = "attention.sliding_window_pattern";
  if (auto flags = keys.layer_flags(kPattern, config.layers))
    config.slides = std::move(*flags);
  else
    config.slides = usual_sliding_layers(config.layers, keys.integer(kPattern).value_or(architecture.gguf_full_every));
  if (std::ranges::find(config.slides, true) == config.slides.end()) config.sliding_window = 0;
}

// Keys of other families that change what a network computes: a file that sets one is none of these networks.
void refuse_unread(const Keys& keys, const Architecture& architecture) {
  struct Unread {
    std::string_view key;
    double neutral, also;  // values that change nothing
  };
  constexpr std::array kUnread = std::to_array<Unread>({{"attention.causal", 1, 1},
                                                        {"attention.scale", 0, 0},
                                                        {"attention.clamp_kqv", 0, 0},
                                                        {"attention.max_alibi_bias", 0, 0},
                                                        {"attention.temperature_scale", 0, 0},
                                                        {"attention.shared_kv_layers", 0, 0},
                                                        {"embedding_scale", 0, 1},
                                                        {"residual_scale", 0, 1},
                                                        {"logit_scale", 0, 1},
                                                        {"expert_shared_count", 0, 0},
                                                        {"expert_shared_feed_forward_length", 0, 0},
                                                        {"expert_gating_func", 0, 1},
                                                        {"expert_weights_scale", 0, 1},
                                                        {"expert_weights_norm", 1, 1},
                                                        {"expert_group_count", 0, 1},
                                                        {"leading_dense_block_count", 0, 0},
                                                        {"nextn_predict_layers", 0, 0},
                                                        {"embedding_length_per_layer_input", 0, 0}});
  const auto refuse = [&](std::string_view key, double value, double neutral) {
    keys.unsupported(fmt::format("networks of the family {} can only be run with {} {}: {}", architecture.name,
                                 keys.full(key), neutral, value));
  };
  for (const auto& [key, neutral, also] : kUnread)
    if (const auto value = keys.flag_or_number(key); value && *value != neutral && *value != also)
      if (std::ranges::find(architecture.gguf_own_keys, key) == architecture.gguf_own_keys.end())
        refuse(key, *value, neutral);
  for (const std::string_view cap : {"attn_logit_softcapping", "final_logit_softcapping"})
    if (architecture.read_gguf == nullptr)
      if (const double value = keys.number(cap).value_or(0); value != 0) refuse(cap, value, 0);
}

}  // namespace

ModelConfig read_gguf_config(const Checkpoint& checkpoint, ConfigKeys& names) {
  const std::string source = checkpoint.path().string();
  const auto family = Keys(checkpoint, source, "general.").string("architecture");
  if (!family) throw Error(ErrorKind::corrupt, source + ": key is missing: general.architecture");
  const Architecture& architecture = find_gguf_architecture(*family, source);
  refuse_tensor_scales(checkpoint, architecture.names);
  const Keys keys(checkpoint, source, *family + ".");
  names = {source,
           keys.full("vocab_size"),
           keys.full("embedding_length"),
           keys.full("feed_forward_length"),
           keys.full("block_count"),
           keys.full("attention.head_count"),
           keys.full("attention.head_count_kv"),
           keys.full("attention.key_length"),
           keys.full("context_length"),
           keys.full("attention.layer_norm_rms_epsilon"),
           keys.full("rope.freq_base"),
           keys.full("rope.scaling.factor"),
           "",
           "",
           keys.full("rope.scaling.original_context_length")};

  if (checkpoint.find(kEmbeddingName) != nullptr) names.vocab_size = fmt::format("rows of {}", kEmbeddingName);
  names.full_kv_heads = names.kv_heads;
  names.full_head_dim = names.head_dim;
  if (keys.integer("attention.key_length_swa") && architecture.gguf_lists_layers)
    names.head_dim = keys.full("attention.key_length_swa");
  if (architecture.has_latent) names.head_dim = keys.full("rope.dimension_count");
  names.sharing_intermediate = names.intermediate;
  names.shared_intermediate = keys.full("expert_shared_feed_forward_length");
  names.per_layer_width = keys.full("embedding_length_per_layer_input");
  names.delta_heads = keys.full("ssm.time_step_rank");
  names.delta_key_heads = keys.full("ssm.group_count");
  names.delta_key_dim = names.delta_value_dim = keys.full("ssm.state_size");
  names.convolution_taps = keys.full("ssm.conv_kernel");
  names.latent = keys.full("attention.kv_lora_rank");
  names.query_latent = keys.full("attention.q_lora_rank");
  names.plain_key_dim = keys.full("attention.key_length");
  names.value_dim = keys.full("attention.value_length");
  names.rope_high = keys.full("rope.scaling.yarn_beta_fast");
  names.rope_low = keys.full("rope.scaling.yarn_beta_slow");
  names.rope_magnitude = keys.full("rope.scaling.attn_factor");
  names.rope_query_growth = keys.full("attention.temperature_scale");

  refuse_unread(keys, architecture);
  const std::uint64_t experts = keys.integer("expert_count").value_or(0);
  if (experts > 0 && std::ranges::find(architecture.names, "router", &TensorName::part) == architecture.names.end())
    keys.unsupported("mixtures of experts of this family cannot be run; " + keys.full("expert_count"));
  ModelConfig config;
  config.architecture = architecture.name;
  config.vocab_size = read_vocab(checkpoint, keys);
  config.hidden = keys.required_integer("embedding_length");
  config.layers = keys.required_integer("block_count");
  config.context = keys.required_integer("context_length");
  const auto count_of = [&](std::string_view key) {
    if (!architecture.gguf_lists_layers) return keys.layer_integer(key);
    const bool is_sound = config.layers >= 1 && config.layers <= kMaxLayers;  // else it is judged later
    const auto counts = keys.layer_integers(key, is_sound ? config.layers : 1);
    return counts ? std::optional(counts->front()) : std::nullopt;
  };
  const auto intermediate = count_of("feed_forward_length"), heads = keys.layer_integer("attention.head_count");
  const auto expert_width = keys.integer("expert_feed_forward_length");
  if (!intermediate && !expert_width) keys.missing("feed_forward_length");
  if (!heads) keys.missing("attention.head_count");
  config.intermediate = intermediate ? *intermediate : *expert_width;
  config.heads = *heads;
  if (experts > 0) {
    config.num_experts = experts;
    config.experts_used = keys.required_integer("expert_used_count");
    config.expert_intermediate = expert_width.value_or(config.intermediate);
    names.num_experts = keys.full("expert_count");
    names.experts_used = keys.full("expert_used_count");
    names.expert_intermediate =
        keys.full(architecture.gguf_expert_width ? "expert_feed_forward_length" : "feed_forward_length");
  }
  config.kv_heads = count_of("attention.head_count_kv").value_or(config.heads);
  const bool divides = config.heads != 0 && config.hidden % config.heads == 0;
  const bool reads_heads = !architecture.has_latent;
  config.head_dim = keys.integer("attention.key_length").value_or(divides ? config.hidden / config.heads : 0);
  if (reads_heads && keys.integer("attention.value_length").value_or(config.head_dim) != config.head_dim)
    keys.unsupported("values of another length than keys cannot be run; " + keys.full("attention.value_length"));
  const auto epsilon = keys.number("attention.layer_norm_rms_epsilon");
  if (!epsilon) keys.missing("attention.layer_norm_rms_epsilon");
  config.norm_epsilon = static_cast<float>(*epsilon);
  config.tied_embedding = checkpoint.find("output.weight") == nullptr;
  config.attention_bias = architecture.gguf_qkv_bias || checkpoint.find("blk.0.attn_q.bias") != nullptr ||
                          checkpoint.find("blk.0.attn_qkv.bias") != nullptr;
  config.output_bias = checkpoint.find("blk.0.attn_output.bias") != nullptr;
  config.mlp_bias = checkpoint.find("blk.0.ffn_gate.bias") != nullptr;

  RopeConfig& rope = config.rope;
  rope.half_split = !architecture.gguf_interleaved_rotary;
  rope.base = keys.number("rope.freq_base").value_or(10000);
  rope.rotary_dim = keys.integer("rope.dimension_count").value_or(config.head_dim);
  const bool is_part = architecture.rotates_partly && rope.rotary_dim % 2 == 0 && rope.rotary_dim >= 2 &&
                       rope.rotary_dim < config.head_dim;
  if (reads_heads && config.head_dim != 0 && rope.rotary_dim != config.head_dim && !is_part)
    keys.unsupported(fmt::format("rotary positions on part of a head cannot be run; {}: {}",
                                 keys.full("rope.dimension_count"), rope.rotary_dim));
  if (architecture.gguf_local_rope_base != 0) {
    config.sliding_rope = rope;
    config.sliding_rope->base = keys.number("rope.freq_base_swa").value_or(architecture.gguf_local_rope_base);
    names.sliding_rope_base = keys.full("rope.freq_base_swa");
  }
  read_rope_tensors(checkpoint, source, keys, config);
  read_scaling(keys, architecture, config.context, rope);
  // llama.cpp does not stretch the positions of layers that slide, but multiplies them by attn_factor, too.
  if (rope.scaling == RopeScaling::yarn && config.sliding_rope)
    config.sliding_rope->magnitude = static_cast<float>(sliding_magnitude(rope));
  read_windows(keys, architecture, config, names);
  if (architecture.read_gguf != nullptr) architecture.read_gguf(keys, config);
  return config;
}

}  // namespace nibble
