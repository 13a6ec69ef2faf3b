// SPDX-License-Identifier: Apache-2.0
//
// config.json. A key that is missing means the default of the model's configuration class, not zero.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>

#include "io/json_text.h"
#include "io/message_text.h"
#include "model/config_readers.h"
#include "model/foreign_quantization.h"
#include "model/huggingface_fields.h"
#include "model/known_family.h"
#include "model/layer_types.h"
#include "model/undrawn_networks.h"
#include "nibble/error.h"

namespace nibble {

namespace {

using Json = nlohmann::ordered_json;
using Fields = HuggingFaceFields;

std::string known_types() {
  std::vector<std::string_view> types;  // a wrapper may have several text parts
  for (const Architecture& architecture : all_architectures())
    for (const HfVariant& variant : architecture.variants)
      for (const std::string_view type : {variant.model_type, variant.wrapper_type})
        if (!type.empty() && std::ranges::find(types, type) == types.end()) types.push_back(type);
  return fmt::format("{}", fmt::join(types, ", "));
}

// model_type decides; the class must agree, because other classes of the same type (classifiers, bare bodies) have
// other tensors.
KnownFamily find_family(const Fields& fields) {
  const std::string type = fields.string("model_type", "");
  std::string class_name;
  if (const Json* classes = fields.find("architectures")) {
    if (!classes->is_array() || classes->empty() || !classes->front().is_string())
      fields.wrong("architectures", "a list of names", *classes);
    class_name = classes->front().get<std::string>();
  }
  std::string text_type;
  if (const Json* const text = fields.find("text_config"); text != nullptr && text->is_object())
    text_type = fields.object("text_config").string("model_type", "");
  if (type.empty() && class_name.empty())
    fields.unsupported(fmt::format("neither model_type nor architectures name a network; known are {}", known_types()));
  const auto family = find_family_of_type(type, class_name, text_type);
  if (family) {
    if (!class_name.empty() && !family->is_class(class_name))
      fields.unsupported(
          fmt::format("of model_type {} only {} can be run, not {}", type, family->class_name(), class_name));
    return *family;
  }
  const std::string& name = type.empty() ? class_name : type;
  const char* const key = type.empty() ? "architectures" : "model_type";
  if (const auto undrawn = undrawn_network(name))
    fields.unsupported(fmt::format("{} '{}' is {}; known are {}", key, name, *undrawn, known_types()));
  fields.unsupported(fmt::format("unknown {} '{}'; known are {}", key, name, known_types()));
}

void require_activation(const Fields& fields, const Architecture& architecture) {
  const std::string usual(architecture.activation), key(architecture.activation_key);
  const std::string given = fields.string(key.c_str(), usual);
  if (given != usual && !(usual == "silu" && given == "swish"))
    fields.unsupported(fmt::format("{} must be {}: {}", key, usual, given));
}

// Which layers slide where a window is there: layer_types says it for each, or the class does.
std::vector<bool> read_sliding_layers(const Fields& fields, const HfVariant& variant, std::uint64_t layers) {
  std::vector<bool> slides(layers, true);
  if (auto said = variant.reads_layer_types() ? read_layer_types(fields, layers, "sliding_attention") : std::nullopt) {
    slides = std::move(*said);
    if (variant.last_attends_to_all && !slides.empty() && slides.back())
      fields.wrong("layer_types", "full_attention in this family's last layer", "sliding_attention");
  } else if (variant.window_needs_switch) {
    const std::uint64_t first = fields.integer("max_window_layers", 28);
    for (std::uint64_t i = 0; i < std::min(first, layers); ++i) slides[i] = false;
  } else if (variant.default_full_every != 0) {
    const std::uint64_t every = fields.integer("sliding_window_pattern", variant.default_full_every);
    if (every == 0) fields.wrong("sliding_window_pattern", "at least 1", *fields.find("sliding_window_pattern"));
    slides = usual_sliding_layers(layers, every);
  }
  if (variant.last_attends_to_all && !slides.empty()) slides.back() = false;
  return slides;
}

void read_windows(const Fields& fields, const HfVariant& variant, ModelConfig& config, ConfigKeys& keys) {
  keys.sliding_window = "sliding_window";
  const bool is_off = variant.window_needs_switch && !fields.boolean("use_sliding_window", false);
  const bool has_key =
      variant.default_sliding_window != 0 || (variant.reads_sliding_window && fields.find("sliding_window") != nullptr);
  const bool is_null = fields.has_null("sliding_window");
  // null turns the window off, but not in classes that have layers without one anyway.
  if (!has_key || is_off || (is_null && variant.default_full_every == 0)) return;
  config.slides = read_sliding_layers(fields, variant, config.layers);
  if (std::ranges::find(config.slides, true) == config.slides.end()) return;
  if (is_null) fields.wrong("sliding_window", "at least 1 where layers slide", Json());
  config.sliding_window = fields.integer("sliding_window", variant.default_sliding_window);
  if (config.sliding_window == 0)
    fields.wrong("sliding_window",
                 variant.default_full_every == 0 ? "at least 1, or null for none" : "at least 1 where layers slide", 0);
}

// Layers of a class that has experts have them, but for those that mlp_only_layers or decoder_sparse_step leave out.
void read_experts(const Fields& fields, const HfVariant& variant, ModelConfig& config, ConfigKeys& keys) {
  if (variant.default_experts == 0) return;
  const Json* const local = fields.find("num_local_experts");
  keys.num_experts = local != nullptr                             ? "num_local_experts"
                     : fields.find("n_routed_experts") != nullptr ? "n_routed_experts"
                                                                  : "num_experts";
  if (const Json* const other = fields.find("num_experts"); local != nullptr && other != nullptr && *local != *other)
    fields.wrong("num_experts", "the same as num_local_experts", *other);
  keys.experts_used = "num_experts_per_tok";
  keys.expert_intermediate = variant.default_expert_intermediate != 0 ? "moe_intermediate_size" : "intermediate_size";
  config.num_experts = fields.integer(keys.num_experts.c_str(), variant.default_experts);
  config.experts_used = fields.integer("num_experts_per_tok", variant.default_experts_used);
  config.expert_intermediate = config.intermediate;
  if (variant.default_expert_intermediate != 0)
    config.expert_intermediate = fields.integer("moe_intermediate_size", variant.default_expert_intermediate);
  config.normalizes_routing = variant.normalizes_routing;
  if (variant.default_expert_intermediate == 0 || !variant.has_routing_keys) return;
  config.normalizes_routing = fields.boolean("norm_topk_prob", variant.normalizes_routing);
  const std::uint64_t step = fields.integer("decoder_sparse_step", 1);
  if (step == 0) fields.wrong("decoder_sparse_step", "at least 1", 0);
  std::vector<bool> dense(config.layers);
  for (std::uint64_t i = 0; i < config.layers; ++i) dense[i] = (i + 1) % step != 0;
  if (const Json* const only = fields.find("mlp_only_layers")) {
    if (!only->is_array()) fields.wrong("mlp_only_layers", "a list of layers", *only);
    for (const Json& layer : *only) {
      if (!layer.is_number_unsigned() || layer.get<std::uint64_t>() >= config.layers)
        fields.wrong("mlp_only_layers", "a list of the model's layers", *only);
      dense[layer.get<std::uint64_t>()] = true;
    }
  }
  if (std::ranges::find(dense, true) != dense.end()) config.dense = std::move(dense);
}

constexpr std::uint64_t kUsualPerLayerVocab = 262144;

// by_layer: per_layer_config. What single layers have otherwise than the others can be the sizes of their heads.
void require_known_layers(const Fields& fields, const Json& by_layer, std::uint64_t layers) {
  for (const auto& [layer, words] : by_layer.items()) {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(layer.data(), layer.data() + layer.size(), number);
    if (error != std::errc() || end != layer.data() + layer.size() || number >= layers)
      fields.contradicts(
          fmt::format("per_layer_config may speak of layers 0 to {} alone: {}", layers - 1, quote_name(layer)));
    if (!words.is_object()) fields.wrong("per_layer_config", "an object of objects", words);
    for (const auto& [key, value] : words.items()) {
      const Json* const usual = fields.find(key.c_str());
      if (key != "head_dim" && key != "num_key_value_heads" && (usual == nullptr || *usual != value))
        fields.unsupported(
            fmt::format("layers that differ in anything but their heads cannot be run; "
                        "per_layer_config.{}.{}: {}",
                        layer, quote_name(key), dump_json(value).substr(0, 80)));
    }
  }
}

// Heads of layers that do not slide, said by keys of their own or, as newer writers do, for each of these layers.
void read_full_heads(const Fields& fields, ModelConfig& config, std::uint64_t usual) {
  config.full_head_dim = fields.integer("global_head_dim", usual);
  if (config.full_head_dim == 0) fields.wrong("global_head_dim", "at least 2", 0);
  if (config.full_keys_are_values) config.full_kv_heads = fields.integer("num_global_key_value_heads", 0);
  if (fields.find("per_layer_config") == nullptr) return;
  const Fields by_layer = fields.object("per_layer_config");
  require_known_layers(fields, *fields.find("per_layer_config"), config.layers);
  bool is_first = true;
  for (std::uint64_t i = 0; i < config.layers; ++i) {
    const std::string layer = std::to_string(i);
    const bool has_own = by_layer.find(layer.c_str()) != nullptr;
    std::uint64_t head_dim = config.head_dim, kv_heads = config.kv_heads;
    if (has_own) {
      head_dim = by_layer.object(layer.c_str()).integer("head_dim", head_dim);
      kv_heads = by_layer.object(layer.c_str()).integer("num_key_value_heads", kv_heads);
    }
    const bool slides = config.is_sliding(static_cast<std::int64_t>(i));
    if (!slides && is_first) {
      config.full_head_dim = head_dim;
      config.full_kv_heads = kv_heads;
      is_first = false;
    }
    if (head_dim != (slides ? config.head_dim : config.full_head_dim) ||
        kv_heads != (slides ? config.kv_heads : config.full_kv_heads))
      fields.unsupported("layers of one kind whose heads differ cannot be run; per_layer_config of layer " + layer);
  }
}

// What layers of some classes have, each kind of its own.
void read_layer_kinds(const Fields& fields, const HfVariant& variant, ModelConfig& config, ConfigKeys& keys) {
  if (variant.default_full_head_dim == 0) return;
  const bool is_by_layer = fields.find("per_layer_config") != nullptr;
  keys.full_head_dim = is_by_layer ? "per_layer_config's head_dim" : "global_head_dim";
  keys.full_kv_heads = is_by_layer ? "per_layer_config's num_key_value_heads" : "num_global_key_value_heads";
  keys.sharing_layers = "num_kv_shared_layers";
  keys.sharing_intermediate = "twice intermediate_size";
  keys.per_layer_width = "hidden_size_per_layer_input";
  config.full_keys_are_values = fields.boolean("attention_k_eq_v", false);
  read_full_heads(fields, config, variant.default_full_head_dim);
  config.sharing_layers = fields.integer("num_kv_shared_layers", 0);
  if (fields.boolean("use_double_wide_mlp", false) && config.sharing_layers != 0)
    config.sharing_intermediate = 2 * config.intermediate;
  if (variant.default_per_layer_width == 0 || fields.has_null("hidden_size_per_layer_input")) return;
  config.per_layer_width = fields.integer("hidden_size_per_layer_input", variant.default_per_layer_width);
  const std::uint64_t vocab = fields.integer("vocab_size_per_layer_input", kUsualPerLayerVocab);
  if (config.per_layer_width != 0 && vocab != config.vocab_size)
    fields.unsupported(
        fmt::format("layers' own inputs of another vocabulary cannot be run; "
                    "vocab_size_per_layer_input: {}, not {}",
                    vocab, config.vocab_size));
}

void read_biases(const Fields& fields, const HfVariant& variant, ModelConfig& config) {
  if (variant.always_qkv_bias) {
    config.attention_bias = true;
    return;
  }
  config.attention_bias = config.output_bias = fields.boolean("attention_bias", variant.default_attention_bias);
  config.mlp_bias = fields.boolean("mlp_bias", false);
}

void refuse_other_text(const Fields& text, const HfVariant& variant) {
  const std::string type = text.string("model_type", std::string(variant.model_type));
  if (type == variant.model_type) return;
  std::vector<std::string_view> known;
  for (const Architecture& architecture : all_architectures())
    for (const HfVariant& other : architecture.variants)
      if (other.wrapper_type == variant.wrapper_type) known.push_back(other.model_type);
  text.unsupported(fmt::format("the text part of {} can only be {}; text_config.model_type: {}", variant.wrapper_type,
                               fmt::join(known, " or "), type));
}

}  // namespace

void set_family_defaults(ModelConfig& config, std::uint64_t sliding_window) {
  const Architecture& architecture = find_architecture(config.architecture);
  const HfVariant& variant = architecture.variants.front();
  config.sliding_window = sliding_window;
  if (sliding_window != 0) config.slides = usual_sliding_layers(config.layers, variant.default_full_every);
  if (variant.last_attends_to_all && !config.slides.empty()) config.slides.back() = false;
  if (variant.default_local_rope_base != 0) {
    config.sliding_rope = config.rope;
    config.sliding_rope->base = variant.default_local_rope_base;
  }
  config.output_bias = config.attention_bias && !variant.always_qkv_bias;
  const Json none = Json::object();
  if (architecture.read_huggingface != nullptr)
    architecture.read_huggingface(Fields(none, config.architecture), config);
}

ModelConfig read_huggingface_config(const Checkpoint& checkpoint, ConfigKeys& keys) {
  if (checkpoint.config_json().empty())
    throw Error(ErrorKind::not_found,
                checkpoint.path().string() + ": no config.json says what the tensors mean; give the model's directory");
  refuse_foreign_quantization(checkpoint);
  return read_huggingface_config(checkpoint.config_json(), (checkpoint.path() / "config.json").string(),
                                 checkpoint.find("lm_head.weight") != nullptr, keys);
}

ModelConfig read_huggingface_config(std::string_view text, const std::string& source, bool has_head, ConfigKeys& keys) {
  keys = {source,
          "vocab_size",
          "hidden_size",
          "intermediate_size",
          "num_hidden_layers",
          "num_attention_heads",
          "num_key_value_heads",
          "head_dim",
          "max_position_embeddings",
          "rms_norm_eps",
          "rope_theta",
          "rope_scaling.factor",
          "",
          "",
          ""};
  keys.shared_intermediate = "shared_expert_intermediate_size";
  keys.delta_heads = "linear_num_value_heads";
  keys.delta_key_heads = "linear_num_key_heads";
  keys.delta_key_dim = "linear_key_head_dim";
  keys.delta_value_dim = "linear_value_head_dim";
  keys.convolution_taps = "linear_conv_kernel_dim";
  keys.latent = "kv_lora_rank";
  keys.query_latent = "q_lora_rank";
  keys.plain_key_dim = "qk_nope_head_dim";
  keys.value_dim = "v_head_dim";
  const Json json = parse_json(text, source);
  if (!json.is_object()) throw Error(ErrorKind::corrupt, source + ": must hold a JSON object");
  const Fields whole(json, source);
  const KnownFamily family = find_family(whole);
  const auto& [architecture, variant, is_wrapped] = family;
  const Fields fields = is_wrapped ? whole.object("text_config") : Fields(json, source, "", variant->own_keys);
  if (!variant->own_keys.empty())
    for (std::string* const key :
         {&keys.vocab_size, &keys.intermediate, &keys.layers, &keys.kv_heads, &keys.head_dim, &keys.context})
      *key = fields.name_of(key->c_str());
  if (architecture->has_latent) keys.head_dim = "qk_rope_head_dim";
  if (fields.find("shared_intermediate_size") != nullptr) keys.shared_intermediate = "shared_intermediate_size";
  if (is_wrapped) refuse_other_text(fields, *variant);
  keys.attention_bias = fields.name_of("attention_bias");
  keys.mlp_bias = fields.name_of("mlp_bias");

  ModelConfig config;
  config.architecture = architecture->name;
  const auto size = [&](const char* key, std::uint64_t otherwise) {
    return is_wrapped && otherwise != 0 ? fields.integer(key, otherwise) : fields.required_integer(key);
  };
  config.vocab_size = size("vocab_size", variant->default_vocab);
  config.hidden = size("hidden_size", variant->default_hidden);
  const std::string other_width(variant->other_intermediate_key);
  const bool has_other_width = !other_width.empty() && fields.find(other_width.c_str()) != nullptr;
  config.intermediate = has_other_width ? fields.required_integer(other_width.c_str())
                        : variant->is_all_experts
                            ? fields.integer("moe_intermediate_size", variant->default_expert_intermediate)
                            : size("intermediate_size", variant->default_intermediate);
  if (variant->is_all_experts) keys.intermediate = "moe_intermediate_size";
  if (has_other_width) keys.intermediate = other_width;
  config.layers = size("num_hidden_layers", variant->default_layers);
  config.heads = size("num_attention_heads", variant->default_heads);
  // null means as many as heads in every class; a missing key means the class's own number.
  const bool as_heads = fields.has_null("num_key_value_heads") || variant->default_kv_heads == 0;
  config.kv_heads = fields.integer("num_key_value_heads", as_heads ? config.heads : variant->default_kv_heads);
  const bool divides = config.heads != 0 && config.hidden % config.heads == 0;
  const std::uint64_t usual = variant->default_head_dim != 0 ? variant->default_head_dim
                              : divides                      ? config.hidden / config.heads
                                                             : 0;
  config.head_dim = fields.integer("head_dim", usual);
  config.context = fields.integer("max_position_embeddings", variant->default_context);
  const std::string epsilon_key(variant->norm_epsilon_key);
  keys.norm_epsilon = fields.name_of(epsilon_key.c_str());
  config.norm_epsilon = static_cast<float>(fields.number(epsilon_key.c_str(), variant->default_norm_epsilon));
  // Of a wrapped model it counts what stands beside text_config.
  config.tied_embedding = whole.boolean(
      "tie_word_embeddings", fields.boolean("tie_word_embeddings", variant->default_tied || (is_wrapped && !has_head)));
  // Sizes first: what follows is a list with an entry for each layer.
  if (config.layers <= kMaxLayers) {
    read_windows(fields, *variant, config, keys);
    read_layer_kinds(fields, *variant, config, keys);
    read_experts(fields, *variant, config, keys);
  }
  read_biases(fields, *variant, config);
  read_huggingface_rope(fields, family, config, keys);
  require_activation(fields, *architecture);
  if (architecture->read_huggingface != nullptr) architecture->read_huggingface(fields, config);
  if (config.num_experts != 0 && keys.num_experts.empty()) {  // Gemma 4's class has words of its own
    keys.num_experts = "num_experts";
    keys.experts_used = "top_k_experts";
    keys.expert_intermediate = "moe_intermediate_size";
  }
  if (variant->default_experts == 0 && fields.find("enable_moe_block") != nullptr)
    keys.experts_switch = "enable_moe_block";
  if (variant->read_own != nullptr) variant->read_own(fields, config);
  return config;
}

}  // namespace nibble
