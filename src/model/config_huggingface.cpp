// SPDX-License-Identifier: Apache-2.0
//
// config.json. A key that is missing means the default of the model's configuration class, not zero.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "io/json_text.h"
#include "model/config_readers.h"
#include "model/foreign_quantization.h"
#include "model/huggingface_fields.h"
#include "model/known_family.h"
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

std::vector<float> read_factors(const Fields& fields, const char* key, std::size_t count) {
  const Json* const list = fields.find(key);
  const bool is_list = list != nullptr && list->is_array() && list->size() == count &&
                       std::ranges::all_of(*list, [](const Json& v) { return v.is_number(); });
  if (!is_list) fields.wrong(key, fmt::format("a list of {} numbers", count).c_str(), list == nullptr ? Json() : *list);
  std::vector<float> factors;
  for (const Json& value : *list) factors.push_back(static_cast<float>(value.get<double>()));
  return factors;
}

// The length that a model was first trained with: in the rotary group, or beside it.
constexpr const char* kOriginalContext = "original_max_position_embeddings";

// Divisors for sequences up to the length that the model was first trained with, and for longer ones.
// rope.original_context: that length, where the file says it beside the group.
RopeConfig read_longrope(const Fields& fields, RopeConfig rope, std::uint64_t context) {
  rope.scaling = RopeScaling::longrope;
  rope.original_context = fields.integer(kOriginalContext, rope.original_context);
  rope.short_factors = read_factors(fields, "short_factor", rope.rotary_dim / 2);
  rope.long_factors = read_factors(fields, "long_factor", rope.rotary_dim / 2);
  if (rope.original_context == 0) fields.wrong(kOriginalContext, "at least 1", 0);
  const double factor =
      fields.number("factor", static_cast<double>(context) / static_cast<double>(rope.original_context));
  rope.magnitude = static_cast<float>(
      fields.number("attention_factor", static_cast<double>(longrope_magnitude(factor, rope.original_context))));
  return rope;
}

// factor: of the context lengths, where none is given.
RopeConfig read_yarn(const Fields& fields, RopeConfig rope, std::uint64_t context) {
  rope.scaling = RopeScaling::yarn;
  rope.original_context = fields.integer(kOriginalContext, rope.original_context);
  if (rope.original_context == 0) fields.wrong(kOriginalContext, "at least 1", 0);
  rope.factor = fields.number("factor", static_cast<double>(context) / static_cast<double>(rope.original_context));
  const double fast = fields.number("beta_fast", 0), slow = fields.number("beta_slow", 0);  // 0: the usual
  rope.high_frequency_factor = fast != 0 ? fast : kYarnFastTurns;
  rope.low_frequency_factor = slow != 0 ? slow : kYarnSlowTurns;
  rope.whole_borders = fields.boolean("truncate", true);
  const double scale = fields.number("mscale", 0), scale_of_all = fields.number("mscale_all_dim", 0);
  const double usual = scale != 0 && scale_of_all != 0
                           ? yarn_magnitude(rope.factor, scale) / yarn_magnitude(rope.factor, scale_of_all)
                           : yarn_magnitude(rope.factor);
  rope.magnitude = static_cast<float>(fields.number("attention_factor", usual));
  rope.query_growth = static_cast<float>(fields.number("llama_4_scaling_beta", 0));
  return rope;
}

// Positions that turn the first part of a head, by frequencies of the whole.
RopeConfig as_proportional(RopeConfig rope, double part, double factor) {
  rope.scaling = RopeScaling::proportional;
  const auto turning = static_cast<std::uint64_t>(part * static_cast<double>(rope.rotary_dim) / 2);
  rope.frequency_divisors = proportional_divisors(rope.rotary_dim, turning, factor);
  return rope;
}

RopeConfig read_proportional(const Fields& fields, RopeConfig rope) {
  const double part = fields.number("partial_rotary_factor", 1), factor = fields.number("factor", 1);
  if (!(part >= 0 && part <= 1)) fields.wrong("partial_rotary_factor", "between 0 and 1", part);
  if (!(factor > 1e-6 && factor < 1e6)) fields.wrong("factor", "positive", factor);
  return as_proportional(std::move(rope), part, factor);
}

// rope: as its group says. Which of two lengths counts, readers do not agree on.
void refuse_two_lengths(const Fields& fields, const RopeConfig& rope) {
  const bool counts =
      rope.scaling == RopeScaling::yarn || rope.scaling == RopeScaling::llama3 || rope.scaling == RopeScaling::longrope;
  if (counts && fields.find(kOriginalContext) != nullptr &&
      fields.integer(kOriginalContext, 0) != rope.original_context)
    fields.wrong(kOriginalContext, fmt::format("the same as in the rotary group ({})", rope.original_context).c_str(),
                 *fields.find(kOriginalContext));
}

// What a rotary group of keys says: rope_scaling, or rope_parameters, which newer writers use instead and nest by kind
// of layer. base: what holds where the group does not say it.
RopeConfig read_scaling(const Fields& fields, const std::string& group, RopeConfig rope, std::uint64_t context) {
  rope.base = fields.number("rope_theta", rope.base);
  const std::string type = fields.string("rope_type", fields.string("type", "default"));
  if (type == "default") return rope;
  // Early files say su or yarn.
  if (type == "longrope" || type == "su" || (type == "yarn" && fields.find("long_factor") != nullptr))
    return read_longrope(fields, std::move(rope), context);
  if (type == "yarn") return read_yarn(fields, std::move(rope), context);
  if (type == "proportional") return read_proportional(fields, std::move(rope));
  if (type != "linear" && type != "llama3")
    fields.unsupported(
        fmt::format("rotary scaling can be default, linear, llama3, longrope, yarn or proportional; {}.rope_type: {}",
                    group, type));
  if (fields.find("factor") == nullptr) fields.wrong("factor", "a number", Json());
  rope.scaling = type == "linear" ? RopeScaling::linear : RopeScaling::llama3;
  rope.factor = fields.number("factor", 1);
  if (type == "llama3") {
    rope.low_frequency_factor = fields.number("low_freq_factor", 1);
    rope.high_frequency_factor = fields.number("high_freq_factor", 4);
    rope.original_context = fields.integer(kOriginalContext, rope.original_context);
  }
  return rope;
}

std::uint64_t read_rotary_dim(const Fields& fields, const Architecture& architecture, const HfVariant& variant,
                              std::uint64_t head_dim) {
  constexpr const char* kKey = "partial_rotary_factor";
  double part = fields.number(kKey, variant.default_rotary_part);
  for (const char* const group : {"rope_parameters", "rope_scaling"})
    if (fields.find(group) != nullptr) part = fields.object(group).number(kKey, part);
  if (part == 1) return head_dim;
  if (!architecture.rotates_partly) fields.unsupported("partial_rotary_factor other than 1 cannot be run");
  const double rotary = static_cast<double>(head_dim) * part;
  if (!(rotary >= 2 && rotary <= static_cast<double>(head_dim)) || std::fmod(std::floor(rotary), 2) != 0)
    fields.wrong(kKey, "a part of a head with an even number of channels", part);
  return static_cast<std::uint64_t>(rotary);
}

// Files that carry both groups, for old readers and new ones, say the same in both.
void refuse_two_scalings(const Fields& fields) {
  if (fields.find("rope_parameters") == nullptr || fields.find("rope_scaling") == nullptr) return;
  const Fields newer = fields.object("rope_parameters"), older = fields.object("rope_scaling");
  if (newer.find("full_attention") != nullptr || newer.find("sliding_attention") != nullptr) return;
  for (const char* const key : {"factor", kOriginalContext})
    if (newer.find(key) != nullptr && older.find(key) != nullptr && *newer.find(key) != *older.find(key))
      fields.wrong("rope_parameters", "the same as rope_scaling", *fields.find("rope_parameters"));
  const auto type = [](const Fields& group) { return group.string("rope_type", group.string("type", "default")); };
  if (type(newer) != type(older))
    fields.wrong("rope_parameters", "the same as rope_scaling", *fields.find("rope_parameters"));
}

void read_rope(const Fields& fields, const KnownFamily& family, ModelConfig& config, ConfigKeys& keys) {
  const HfVariant& variant = *family.variant;
  RopeConfig& rope = config.rope;
  rope.half_split = true;
  rope.rotary_dim = read_rotary_dim(fields, *family.architecture, variant,
                                    config.full_head_dim != 0 ? config.full_head_dim : config.head_dim);
  rope.original_context = fields.integer(
      kOriginalContext, variant.default_original_context != 0 ? variant.default_original_context : config.context);
  rope.base = fields.number("rope_theta", variant.default_rope_base);
  keys.rope_base = "rope_theta";
  std::string group = fields.find("rope_parameters") != nullptr ? "rope_parameters" : "rope_scaling";
  const bool has_local_base = variant.default_local_rope_base != 0;
  if (has_local_base) {
    config.sliding_rope = rope;
    if (config.full_head_dim != 0) config.sliding_rope->rotary_dim = config.head_dim;
    config.sliding_rope->base = fields.number("rope_local_base_freq", variant.default_local_rope_base);
    keys.sliding_rope_base = "rope_local_base_freq";
  }
  if (variant.default_proportional_part != 0 && fields.find(group.c_str()) == nullptr)
    rope = as_proportional(std::move(rope), variant.default_proportional_part, 1);
  if (fields.find(group.c_str()) == nullptr) return;
  Fields scaling = fields.object(group.c_str());
  refuse_two_scalings(fields);
  if (scaling.find("full_attention") != nullptr || scaling.find("sliding_attention") != nullptr) {
    if (!has_local_base) fields.unsupported(fmt::format("{} that differ between layers cannot be run", group));
    if (scaling.find("sliding_attention") != nullptr) {
      config.sliding_rope = read_scaling(scaling.object("sliding_attention"), group + ".sliding_attention",
                                         *config.sliding_rope, config.context);
      if (scaling.object("sliding_attention").find("rope_theta") != nullptr)
        keys.sliding_rope_base = group + ".sliding_attention.rope_theta";
    }
    if (scaling.find("full_attention") == nullptr) return;
    const Fields full = scaling.object("full_attention");
    group += ".full_attention";
    rope = read_scaling(full, group, rope, config.context);
    rope.whole_borders = true;  // the key counts beside the groups only, where no file has it
    if (full.find("rope_theta") != nullptr) keys.rope_base = group + ".rope_theta";
  } else {
    rope = read_scaling(scaling, group, rope, config.context);
    if (scaling.find("rope_theta") != nullptr) keys.rope_base = group + ".rope_theta";
  }
  refuse_two_lengths(fields, rope);
  keys.rope_factor = group + ".factor";
  const bool is_yarn = rope.scaling == RopeScaling::yarn;
  keys.rope_low = group + (is_yarn ? ".beta_slow" : ".low_freq_factor");
  keys.rope_high = group + (is_yarn ? ".beta_fast" : ".high_freq_factor");
  keys.rope_original_context = group + "." + kOriginalContext;
  keys.rope_magnitude = group + ".attention_factor";
  keys.rope_query_growth = group + ".llama_4_scaling_beta";
  if (rope.query_growth != 0 && !family.architecture->grows_queries)
    fields.unsupported("queries that grow with their position cannot be run in this family; " + keys.rope_query_growth);
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
  const Json* const types = variant.reads_layer_types() ? fields.find("layer_types") : nullptr;
  if (types != nullptr) {
    if (!types->is_array() || types->size() != layers)
      fields.wrong("layer_types", "a list with a name for each layer", *types);
    for (std::uint64_t i = 0; i < layers; ++i) {
      const Json& type = (*types)[i];
      if (type != "full_attention" && type != "sliding_attention")
        fields.unsupported("layers can be of full_attention or sliding_attention; layer_types: " +
                           dump_json(type).substr(0, 80));
      slides[i] = type == "sliding_attention";
    }
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
  keys.num_experts = local != nullptr ? "num_local_experts" : "num_experts";
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

// Heads of layers that do not slide, said by keys of their own or, as newer writers do, for each of these layers.
void read_full_heads(const Fields& fields, ModelConfig& config, std::uint64_t usual) {
  config.full_head_dim = fields.integer("global_head_dim", usual);
  if (config.full_keys_are_values) config.full_kv_heads = fields.integer("num_global_key_value_heads", 0);
  if (fields.find("per_layer_config") == nullptr) return;
  const Fields by_layer = fields.object("per_layer_config");
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
  const std::string source = (checkpoint.path() / "config.json").string();
  if (checkpoint.config_json().empty())
    throw Error(ErrorKind::not_found,
                checkpoint.path().string() + ": no config.json says what the tensors mean; give the model's directory");
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
  const Json json = parse_json(checkpoint.config_json(), source);
  if (!json.is_object()) throw Error(ErrorKind::corrupt, source + ": must hold a JSON object");
  refuse_foreign_quantization(checkpoint);
  const Fields whole(json, source);
  const KnownFamily family = find_family(whole);
  const auto& [architecture, variant, is_wrapped] = family;
  const Fields fields = is_wrapped ? whole.object("text_config") : Fields(json, source, "", variant->own_keys);
  if (!variant->own_keys.empty())
    for (std::string* const key : {&keys.vocab_size, &keys.intermediate, &keys.layers, &keys.kv_heads, &keys.head_dim,
                                   &keys.context, &keys.norm_epsilon})
      *key = fields.name_of(key->c_str());
  if (is_wrapped) refuse_other_text(fields, *variant);

  ModelConfig config;
  config.architecture = architecture->name;
  const auto size = [&](const char* key, std::uint64_t otherwise) {
    return is_wrapped && otherwise != 0 ? fields.integer(key, otherwise) : fields.required_integer(key);
  };
  config.vocab_size = size("vocab_size", variant->default_vocab);
  config.hidden = size("hidden_size", variant->default_hidden);
  config.intermediate = variant->is_all_experts
                            ? fields.integer("moe_intermediate_size", variant->default_expert_intermediate)
                            : size("intermediate_size", variant->default_intermediate);
  if (variant->is_all_experts) keys.intermediate = "moe_intermediate_size";
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
  config.norm_epsilon = static_cast<float>(fields.number("rms_norm_eps", variant->default_norm_epsilon));
  // Of a wrapped model it counts what stands beside text_config.
  config.tied_embedding = whole.boolean(
      "tie_word_embeddings",
      fields.boolean("tie_word_embeddings",
                     variant->default_tied || (is_wrapped && checkpoint.find("lm_head.weight") == nullptr)));
  // Sizes first: what follows is a list with an entry for each layer.
  if (config.layers <= kMaxLayers) {
    read_windows(fields, *variant, config, keys);
    read_layer_kinds(fields, *variant, config, keys);
    read_experts(fields, *variant, config, keys);
  }
  read_biases(fields, *variant, config);
  read_rope(fields, family, config, keys);
  require_activation(fields, *architecture);
  if (architecture->read_huggingface != nullptr) architecture->read_huggingface(fields, config);
  if (config.num_experts != 0 && keys.num_experts.empty()) {  // Gemma 4's class has words of its own
    keys.num_experts = "num_experts";
    keys.experts_used = "top_k_experts";
    keys.expert_intermediate = "moe_intermediate_size";
  }
  if (variant->read_own != nullptr) variant->read_own(fields, config);
  return config;
}

}  // namespace nibble
