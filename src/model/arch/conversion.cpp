// SPDX-License-Identifier: Apache-2.0
//
// A configuration in the other container's words.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "model/arch/architecture.h"
#include "nibble/error.h"

namespace nibble {

namespace {

constexpr std::uint32_t kQuantizationVersion = 2;  // of ggml's block types, all that GGUF v3 files have had

// Divisors carry no parameters. Those of every Llama 3 release come from these low and high factors; context and factor
// are searched for.
RopeConfig recognise_llama3(const RopeConfig& rope) {
  const std::vector<float>& divisors = rope.frequency_divisors;
  RopeConfig guess = rope;
  guess.scaling = RopeScaling::llama3;
  guess.frequency_divisors.clear();
  guess.low_frequency_factor = 1;
  guess.high_frequency_factor = 4;
  // The longest wave is stretched by the whole factor whenever any wave is.
  guess.factor = static_cast<double>(divisors.back());
  for (guess.original_context = 1; guess.original_context <= (1u << 20); guess.original_context *= 2) {
    const std::vector<float> candidate = rope_frequency_divisors(guess);
    bool equal = true;
    for (std::size_t i = 0; i < divisors.size() && equal; ++i)
      equal = std::abs(static_cast<double>(candidate[i]) - static_cast<double>(divisors[i])) <=
              1e-4 * static_cast<double>(divisors[i]);
    if (equal) return guess;
  }
  throw Error(
      ErrorKind::unsupported,
      fmt::format("{} holds divisors that are not llama3 scaling with factors 1 and 4, so config.json has no words "
                  "for them; keep the model in a GGUF file",
                  kRopeDivisorsName));
}

// A last bit of difference comes from the way there and back.
bool is_near(double value, double expected) { return std::abs(value - expected) <= 1e-6 * expected; }
bool is_usual_yarn(const RopeConfig& rope) {
  return is_near(static_cast<double>(rope.magnitude), yarn_magnitude(rope.factor));
}

// In the words that every version of transformers takes, which leave the magnitude to a formula.
void write_longrope(const ModelConfig& config, nlohmann::ordered_json& json) {
  const RopeConfig& rope = config.rope;
  const double factor = static_cast<double>(config.context) / static_cast<double>(rope.original_context);
  if (const float usual = longrope_magnitude(factor, rope.original_context);
      std::abs(usual - rope.magnitude) > 1e-6f * usual)
    throw Error(
        ErrorKind::unsupported,
        fmt::format(
            "config.json has no words for what longrope multiplies by, which follows from the context lengths there; "
            "keep the model in a GGUF file: {}, not {}",
            rope.magnitude, usual));
  const auto decimals = [](const std::vector<float>& values) {
    std::vector<double> list;
    for (const float value : values) list.push_back(shortest_decimal(value));
    return list;
  };
  json["original_max_position_embeddings"] = rope.original_context;
  json["rope_scaling"] = {{"type", "longrope"},
                          {"short_factor", decimals(rope.short_factors)},
                          {"long_factor", decimals(rope.long_factors)}};
}

nlohmann::ordered_json yarn_words(const RopeConfig& rope) {
  nlohmann::ordered_json words = {{"rope_type", "yarn"},
                                  {"factor", shortest_decimal(static_cast<float>(rope.factor))},
                                  {"original_max_position_embeddings", rope.original_context}};
  if (!is_usual_yarn(rope)) words["attention_factor"] = shortest_decimal(rope.magnitude);
  if (rope.high_frequency_factor != kYarnFastTurns)
    words["beta_fast"] = shortest_decimal(static_cast<float>(rope.high_frequency_factor));
  if (rope.low_frequency_factor != kYarnSlowTurns)
    words["beta_slow"] = shortest_decimal(static_cast<float>(rope.low_frequency_factor));
  if (!rope.whole_borders) words["truncate"] = false;
  return words;
}

// What GGUF files can say: borders are the family's, 32 and 1 turns; attn_factor multiplies what follows from the
// factor.
void write_yarn(const ModelConfig& config, const std::string& prefix, GgufMetadata& m) {
  const RopeConfig& rope = config.rope;
  const Architecture& architecture = find_architecture(config.architecture);
  if (const double given = sliding_magnitude(rope);
      config.sliding_rope && !is_near(static_cast<double>(config.sliding_rope->magnitude), given))
    throw Error(
        ErrorKind::unsupported,
        fmt::format("llama.cpp multiplies the positions of layers that slide by what an attention_factor differs "
                    "from the usual one; write a directory instead: {}, not {}",
                    given, config.sliding_rope->magnitude));
  const bool has_keys = architecture.gguf_yarn_keys, whole_borders = architecture.gguf_whole_borders;
  const bool turns_as_usual =
      rope.high_frequency_factor == kYarnFastTurns && rope.low_frequency_factor == kYarnSlowTurns;
  if ((!turns_as_usual && !has_keys) || rope.whole_borders != whole_borders)
    throw Error(ErrorKind::unsupported,
                fmt::format("GGUF files of this family mean yarn with beta_fast {}, beta_slow {} and truncate {} only; "
                            "write a directory instead: {}, {}, {}",
                            kYarnFastTurns, kYarnSlowTurns, whole_borders, rope.high_frequency_factor,
                            rope.low_frequency_factor, rope.whole_borders));
  m.set(prefix + "rope.scaling.type", GgufValue::of_string("yarn"));
  m.set(prefix + "rope.scaling.factor", GgufValue::of_f32(static_cast<float>(rope.factor)));
  m.set(prefix + "rope.scaling.original_context_length",
        GgufValue::of_u32(static_cast<std::uint32_t>(rope.original_context)));
  if (!turns_as_usual) {
    m.set(prefix + "rope.scaling.yarn_beta_fast", GgufValue::of_f32(static_cast<float>(rope.high_frequency_factor)));
    m.set(prefix + "rope.scaling.yarn_beta_slow", GgufValue::of_f32(static_cast<float>(rope.low_frequency_factor)));
  }
  if (has_keys && rope.magnitude == 1)
    m.set(prefix + "rope.scaling.yarn_log_multiplier", GgufValue::of_f32(1));
  else if (!is_usual_yarn(rope))
    m.set(prefix + "rope.scaling.attn_factor",
          GgufValue::of_f32(static_cast<float>(static_cast<double>(rope.magnitude) / yarn_magnitude(rope.factor))));
}

RopeConfig huggingface_rope(const RopeConfig& rope) {
  if (rope.frequency_divisors.empty() || rope.scaling == RopeScaling::proportional) return rope;
  bool all_one = true;
  for (const float divisor : rope.frequency_divisors) all_one = all_one && divisor == 1;
  if (rope.scaling == RopeScaling::linear && !all_one)
    throw Error(ErrorKind::unsupported,
                "linear rotary scaling together with rope_freqs.weight has no words in config.json");
  if (!all_one) return recognise_llama3(rope);
  RopeConfig plain = rope;
  plain.frequency_divisors.clear();
  return plain;
}

}  // namespace

std::vector<RopeTensor> gguf_rope_tensors(const RopeConfig& rope) {
  if (rope.scaling == RopeScaling::longrope)
    return {{kLongRopeFactorsName, rope.long_factors}, {kShortRopeFactorsName, rope.short_factors}};
  std::vector<float> divisors = rope_frequency_divisors(rope);
  if (divisors.empty()) return {};
  return {{kRopeDivisorsName, std::move(divisors)}};
}

bool is_rope_tensor(std::string_view name) {
  return name == kRopeDivisorsName || name == kShortRopeFactorsName || name == kLongRopeFactorsName;
}

GgufMetadata to_gguf_metadata(const ModelConfig& config, const GgufModelOptions& options) {
  const Architecture& architecture = find_architecture(config.architecture);
  const std::string arch(architecture.gguf_name);
  const auto u32 = [](std::uint64_t value) {
    return GgufValue::of_u32(static_cast<std::uint32_t>(value));
  };  // validate_config capped them
  GgufMetadata m;
  m.set("general.architecture", GgufValue::of_string(arch));
  m.set("general.type", GgufValue::of_string("model"));
  if (!options.name.empty()) m.set("general.name", GgufValue::of_string(options.name));
  if (options.file_type) m.set("general.file_type", u32(*options.file_type));
  m.set("general.quantization_version", u32(kQuantizationVersion));
  m.set(arch + ".context_length", u32(config.context));
  m.set(arch + ".embedding_length", u32(config.hidden));
  m.set(arch + ".block_count", u32(config.layers));
  m.set(arch + ".feed_forward_length", u32(config.intermediate));
  m.set(arch + ".attention.head_count", u32(config.heads));
  m.set(arch + ".attention.head_count_kv", u32(config.kv_heads));
  m.set(arch + ".attention.layer_norm_rms_epsilon", GgufValue::of_f32(config.norm_epsilon));
  if (config.head_dim * config.heads != config.hidden) {
    m.set(arch + ".attention.key_length", u32(config.head_dim));
    m.set(arch + ".attention.value_length", u32(config.head_dim));
  }
  m.set(arch + ".rope.dimension_count", u32(config.rope.rotary_dim));
  m.set(arch + ".rope.freq_base", GgufValue::of_f32(static_cast<float>(config.rope.base)));
  if (config.rope.scaling == RopeScaling::linear) {
    m.set(arch + ".rope.scaling.type", GgufValue::of_string("linear"));
    m.set(arch + ".rope.scaling.factor", GgufValue::of_f32(static_cast<float>(config.rope.factor)));
  }
  if (config.rope.scaling == RopeScaling::longrope) {
    if (!architecture.gguf_longrope)
      throw Error(ErrorKind::unsupported,
                  fmt::format("llama.cpp reads no longrope of {} files; write a directory instead", arch));
    m.set(arch + ".rope.scaling.type", GgufValue::of_string("longrope"));
    m.set(arch + ".rope.scaling.original_context_length", u32(config.rope.original_context));
    m.set(arch + ".rope.scaling.attn_factor", GgufValue::of_f32(config.rope.magnitude));
  }
  if (config.rope.scaling == RopeScaling::yarn) write_yarn(config, arch + ".", m);
  m.set(arch + ".vocab_size", u32(config.vocab_size));
  if (config.num_experts > 0) {
    m.set(arch + ".expert_count", u32(config.num_experts));
    m.set(arch + ".expert_used_count", u32(config.experts_used));
    if (architecture.gguf_expert_width) m.set(arch + ".expert_feed_forward_length", u32(config.expert_intermediate));
  }
  // A window as long as the context is none, for families that have one unless their file says otherwise.
  if (config.sliding_window > 0 || architecture.gguf_default_window > 0)
    m.set(arch + ".attention.sliding_window", u32(config.sliding_window > 0 ? config.sliding_window : config.context));
  if (config.sliding_window > 0 && config.slides != usual_sliding_layers(config.layers, architecture.gguf_full_every))
    m.set(arch + ".attention.sliding_window_pattern", GgufValue::of_bools(config.slides));
  if (architecture.write_gguf != nullptr) architecture.write_gguf(config, arch + ".", m);
  return m;
}

std::string to_huggingface_config(const ModelConfig& config, const HfConfigOptions& options) {
  const Architecture& architecture = find_architecture(config.architecture);
  const HfVariant* variant = &architecture.variants.front();
  // Experts, and a window, exist only where the variant that has them was read.
  const auto has_it = [&](const HfVariant& v) {
    return config.num_experts > 0 ? v.default_experts > 0 : config.sliding_window > 0 && v.default_sliding_window > 0;
  };
  if (const auto found = std::ranges::find_if(architecture.variants, has_it); found != architecture.variants.end())
    variant = &*found;

  nlohmann::ordered_json j;
  j["architectures"] = {variant->class_name};
  j["model_type"] = variant->model_type;
  j["vocab_size"] = config.vocab_size;
  j["hidden_size"] = config.hidden;
  j["intermediate_size"] = config.intermediate;
  j["num_hidden_layers"] = config.layers;
  j["num_attention_heads"] = config.heads;
  j["num_key_value_heads"] = config.kv_heads;
  j["head_dim"] = config.head_dim;
  j["hidden_act"] = "silu";
  j["max_position_embeddings"] = config.context;
  j["rms_norm_eps"] = shortest_decimal(config.norm_epsilon);
  j["rope_theta"] = shortest_decimal(static_cast<float>(config.rope.base));
  const RopeConfig rope = huggingface_rope(config.rope);
  if (rope.scaling == RopeScaling::none) j["rope_scaling"] = nullptr;
  if (rope.scaling == RopeScaling::linear) j["rope_scaling"] = {{"rope_type", "linear"}, {"factor", rope.factor}};
  if (rope.scaling == RopeScaling::llama3)
    j["rope_scaling"] = {{"rope_type", "llama3"},
                         {"factor", rope.factor},
                         {"low_freq_factor", rope.low_frequency_factor},
                         {"high_freq_factor", rope.high_frequency_factor},
                         {"original_max_position_embeddings", rope.original_context}};
  if (rope.scaling == RopeScaling::longrope) write_longrope(config, j);
  if (rope.scaling == RopeScaling::yarn) j["rope_scaling"] = yarn_words(rope);
  if (rope.rotary_dim != config.head_dim || variant->default_rotary_part != 1)
    j["partial_rotary_factor"] = static_cast<double>(rope.rotary_dim) / static_cast<double>(config.head_dim);
  j["tie_word_embeddings"] = config.tied_embedding;
  if (!variant->always_qkv_bias) {
    j["attention_bias"] = config.attention_bias;
    j["mlp_bias"] = config.mlp_bias;
  }
  if (config.sliding_window > 0) {
    j["sliding_window"] = config.sliding_window;
    const auto first = std::ranges::find(config.slides, true) - config.slides.begin();
    if (variant->window_needs_switch) j["max_window_layers"] = first;
    // What no key says the class has its own layers for.
    const bool all = variant->default_full_every == 0 && std::ranges::find(config.slides, false) == config.slides.end();
    if (!all && !variant->reads_layer_types())
      throw Error(
          ErrorKind::unsupported,
          fmt::format("config.json cannot say of {} that only some layers have a window; keep the model in a GGUF file",
                      variant->model_type));
    for (std::size_t i = 0; !all && i < config.slides.size(); ++i)
      j["layer_types"].push_back(config.slides[i] ? "sliding_attention" : "full_attention");
  }
  if (variant->window_needs_switch) j["use_sliding_window"] = config.sliding_window > 0;
  if (architecture.write_huggingface != nullptr) architecture.write_huggingface(config, j);
  if (options.bos_token_id) j["bos_token_id"] = *options.bos_token_id;
  if (options.eos_token_id) j["eos_token_id"] = *options.eos_token_id;
  j["torch_dtype"] = options.dtype;
  if (!options.quantization_config_json.empty())
    j["quantization_config"] = nlohmann::ordered_json::parse(options.quantization_config_json);
  return j.dump(2) + "\n";
}

}  // namespace nibble
