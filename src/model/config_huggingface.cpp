// SPDX-License-Identifier: Apache-2.0
//
// config.json. A key that is missing means the default of the model's configuration class, not zero.
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "io/json_text.h"
#include "model/config_readers.h"
#include "model/foreign_quantization.h"
#include "model/known_family.h"
#include "nibble/error.h"

namespace nibble {

namespace {

using Json = nlohmann::ordered_json;

// Typed access to one JSON object; `prefix` is the path of keys that leads to it.
class Fields {
 public:
  Fields(const Json& object, std::string source, std::string prefix = "")
      : object_(object), source_(std::move(source)), prefix_(std::move(prefix)) {}

  const Json* find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  bool has_null(const char* key) const {
    const auto found = object_.find(key);
    return found != object_.end() && found->is_null();
  }

  std::uint64_t integer(const char* key, std::uint64_t fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_number_unsigned()) wrong(key, "a whole number from 0 to 2^64 - 1", *value);
    return value->get<std::uint64_t>();
  }
  std::uint64_t required_integer(const char* key) const {
    if (find(key) == nullptr) throw Error(ErrorKind::corrupt, fmt::format("{}: key is missing: {}{}", source_, prefix_, key));
    return integer(key, 0);
  }
  double number(const char* key, double fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_number()) wrong(key, "a number", *value);
    return value->get<double>();
  }
  bool boolean(const char* key, bool fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_boolean()) wrong(key, "true or false", *value);
    return value->get<bool>();
  }
  std::string string(const char* key, const std::string& fallback) const {
    const Json* value = find(key);
    if (value == nullptr) return fallback;
    if (!value->is_string() || is_unheld_number(value->get_ref<const std::string&>())) wrong(key, "a string", *value);
    return value->get<std::string>();
  }
  Fields object(const char* key) const {
    const Json* value = find(key);
    if (value == nullptr || !value->is_object()) wrong(key, "an object", value == nullptr ? Json() : *value);
    return Fields(*value, source_, prefix_ + key + ".");
  }

  [[noreturn]] void wrong(const char* key, const char* expected, const Json& value) const {
    const std::string text = dump_json(value);
    throw Error(ErrorKind::corrupt, fmt::format("{}: {}{} must be {}: {}", source_, prefix_, key, expected, text.substr(0, 80)));
  }
  [[noreturn]] void unsupported(const std::string& what) const { throw Error(ErrorKind::unsupported, source_ + ": " + what); }

 private:
  const Json& object_;
  std::string source_, prefix_;
};

std::string known_types() {
  std::string text;
  for (const Architecture& architecture : all_architectures())
    for (const HfVariant& variant : architecture.variants) text += (text.empty() ? "" : ", ") + std::string(variant.model_type);
  return text;
}

// model_type decides; the class must agree, because other classes of the same type (classifiers, bare bodies) have other tensors.
KnownFamily find_family(const Fields& fields) {
  const std::string type = fields.string("model_type", "");
  std::string class_name;
  if (const Json* classes = fields.find("architectures")) {
    if (!classes->is_array() || classes->empty() || !classes->front().is_string()) fields.wrong("architectures", "a list of names", *classes);
    class_name = classes->front().get<std::string>();
  }
  const auto family = find_family_of_type(type, class_name);
  if (!family) fields.unsupported(fmt::format("unknown model_type '{}'; known are {}", type.empty() ? class_name : type, known_types()));
  if (const HfVariant& variant = *family->variant; !class_name.empty() && class_name != variant.class_name)
    fields.unsupported(fmt::format("of model_type {} only {} can be run, not {}", variant.model_type, variant.class_name, class_name));
  return *family;
}

// Either rope_theta with rope_scaling, or rope_parameters, which newer writers use instead.
void read_rope(const Fields& fields, ModelConfig& config, ConfigKeys& keys) {
  RopeConfig& rope = config.rope;
  rope.half_split = true;
  rope.rotary_dim = config.head_dim;
  rope.base = fields.number("rope_theta", 10000);
  keys.rope_base = "rope_theta";
  const char* group = fields.find("rope_parameters") != nullptr ? "rope_parameters" : "rope_scaling";
  if (fields.find(group) == nullptr) return;
  const Fields scaling = fields.object(group);
  if (scaling.find("full_attention") != nullptr || scaling.find("sliding_attention") != nullptr)
    fields.unsupported(fmt::format("{} that differ between layers cannot be run", group));
  rope.base = scaling.number("rope_theta", rope.base);
  if (scaling.find("rope_theta") != nullptr) keys.rope_base = std::string(group) + ".rope_theta";
  if (scaling.number("partial_rotary_factor", 1) != 1) fields.unsupported("partial_rotary_factor other than 1 cannot be run");
  const std::string type = scaling.string("rope_type", scaling.string("type", "default"));
  keys.rope_factor = std::string(group) + ".factor";
  keys.rope_low = std::string(group) + ".low_freq_factor";
  keys.rope_high = std::string(group) + ".high_freq_factor";
  keys.rope_original_context = std::string(group) + ".original_max_position_embeddings";
  if (type == "default") return;
  if (type != "linear" && type != "llama3")
    fields.unsupported(fmt::format("rotary scaling can be default, linear or llama3; {}.rope_type: {}", group, type));
  if (scaling.find("factor") == nullptr) scaling.wrong("factor", "a number", Json());
  rope.scaling = type == "linear" ? RopeScaling::linear : RopeScaling::llama3;
  rope.factor = scaling.number("factor", 1);
  if (type == "llama3") {
    rope.low_frequency_factor = scaling.number("low_freq_factor", 1);
    rope.high_frequency_factor = scaling.number("high_freq_factor", 4);
    rope.original_context = scaling.integer("original_max_position_embeddings", config.context);
  }
}

std::uint64_t read_sliding_window(const Fields& fields, const HfVariant& variant) {
  if (variant.window_needs_switch && !fields.boolean("use_sliding_window", false)) return 0;
  if (variant.default_sliding_window == 0 || fields.has_null("sliding_window")) return 0;
  return fields.integer("sliding_window", variant.default_sliding_window);
}

void read_biases(const Fields& fields, const HfVariant& variant, ModelConfig& config) {
  if (variant.always_qkv_bias) {
    config.attention_bias = true;
    return;
  }
  config.attention_bias = config.output_bias = fields.boolean("attention_bias", false);
  config.mlp_bias = fields.boolean("mlp_bias", false);
}

}  // namespace

ModelConfig read_huggingface_config(const Checkpoint& checkpoint, ConfigKeys& keys) {
  const std::string source = (checkpoint.path() / "config.json").string();
  if (checkpoint.config_json().empty())
    throw Error(ErrorKind::not_found, checkpoint.path().string() + ": no config.json says what the tensors mean; give the model's directory");
  keys = {source, "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim",
          "max_position_embeddings", "rms_norm_eps", "rope_theta", "rope_scaling.factor", "", "", ""};
  const Json json = parse_json(checkpoint.config_json(), source);
  if (!json.is_object()) throw Error(ErrorKind::corrupt, source + ": must hold a JSON object");
  refuse_foreign_quantization(json, checkpoint);
  const Fields fields(json, source);
  const auto [architecture, variant] = find_family(fields);

  ModelConfig config;
  config.architecture = architecture->name;
  config.vocab_size = fields.required_integer("vocab_size");
  config.hidden = fields.required_integer("hidden_size");
  config.intermediate = fields.required_integer("intermediate_size");
  config.layers = fields.required_integer("num_hidden_layers");
  config.heads = fields.required_integer("num_attention_heads");
  // null means as many as heads in every class; a missing key means the class's own number.
  const bool as_heads = fields.has_null("num_key_value_heads") || variant->default_kv_heads == 0;
  config.kv_heads = fields.integer("num_key_value_heads", as_heads ? config.heads : variant->default_kv_heads);
  const bool divides = config.heads != 0 && config.hidden % config.heads == 0;
  const std::uint64_t usual = variant->default_head_dim != 0 ? variant->default_head_dim : divides ? config.hidden / config.heads : 0;
  config.head_dim = fields.integer("head_dim", usual);
  config.context = fields.integer("max_position_embeddings", variant->default_context);
  config.norm_epsilon = static_cast<float>(fields.number("rms_norm_eps", 1e-6));
  config.tied_embedding = fields.boolean("tie_word_embeddings", false);
  config.sliding_window = read_sliding_window(fields, *variant);
  read_biases(fields, *variant, config);
  const std::string activation = fields.string("hidden_act", "silu");
  if (activation != "silu" && activation != "swish") fields.unsupported("hidden_act must be silu: " + activation);
  if (fields.number("partial_rotary_factor", 1) != 1) fields.unsupported("partial_rotary_factor other than 1 cannot be run");
  read_rope(fields, config, keys);
  return config;
}

}  // namespace nibble
