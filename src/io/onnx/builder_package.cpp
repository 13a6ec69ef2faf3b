// SPDX-License-Identifier: Apache-2.0
#include "io/onnx/builder_package.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/json_text.h"
#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

struct Family {
  std::string_view type, architecture;  // genai_config.json's, config.json's
};
constexpr auto kFamilies = std::to_array<Family>({{"llama", "LlamaForCausalLM"},
                                                  {"mistral", "MistralForCausalLM"},
                                                  {"qwen2", "Qwen2ForCausalLM"},
                                                  {"qwen3", "Qwen3ForCausalLM"}});

constexpr std::string_view kLayers = "model.layers.", kNodes = "/model/layers.", kHeadNode = "/lm_head/MatMul";

[[noreturn]] void refuse(ErrorKind kind, const std::string& source, const std::string& why) {
  throw Error(kind, fmt::format("{}: {}", source, why));
}

// "3" and "attn/qkv_proj" of "/model/layers.3/attn/qkv_proj/MatMul_Q4"; nothing for other names.
struct Place {
  std::string layer;
  std::string_view rest;
};
std::optional<Place> place_of(std::string_view name, std::string_view prefix, char separator) {
  if (!name.starts_with(prefix)) return std::nullopt;
  name.remove_prefix(prefix.size());
  const std::size_t end = name.find(separator);
  if (end == std::string_view::npos || end == 0 || name.find_first_not_of("0123456789") != end) return std::nullopt;
  return Place{std::string(name.substr(0, end)), name.substr(end + 1)};
}

const OnnxNode* find_node(const OnnxModel& model, std::string_view name) {
  const auto found = std::ranges::find(model.nodes, name, &OnnxNode::name);
  return found == model.nodes.end() ? nullptr : &*found;
}

const OnnxInitializer* find_initializer(const OnnxModel& model, std::string_view name) {
  const auto found = std::ranges::find(model.initializers, name, &OnnxInitializer::name);
  return found == model.initializers.end() ? nullptr : &*found;
}

// A node of the network's first layer that has this attribute.
std::uint64_t attribute_of(const OnnxModel& model, const std::string& node, std::string_view name,
                           const std::string& source) {
  const OnnxNode* const found = find_node(model, node);
  const std::int64_t* const value = found == nullptr ? nullptr : found->integer(name);
  if (value == nullptr || *value < 1 || *value > std::int64_t{1} << 40)
    refuse(ErrorKind::corrupt, source, fmt::format("no operator {} has a {}", quote_name(node), name));
  return static_cast<std::uint64_t>(*value);
}

// Heads of queries, and of keys and values, in a layer; channels of a head, where queries, keys and values have `rows`.
struct Heads {
  std::uint64_t queries, keys;
  std::uint64_t all() const { return queries + 2 * keys; }
};
Heads heads_of(const OnnxModel& model, const std::string& layer, const std::string& source) {
  const std::string node = fmt::format("{}{}/attn/GroupQueryAttention", kNodes, layer);
  return {attribute_of(model, node, "num_heads", source), attribute_of(model, node, "kv_num_heads", source)};
}

class BuilderTensors {
 public:
  BuilderTensors(const OnnxModel& model, const std::string& source) : model_(model), source_(source) {}

  std::vector<OnnxTensor> list() && {
    for (const OnnxNode& node : model_.nodes) add_matrix(node);
    for (const OnnxInitializer& one : model_.initializers) add_vector(one);
    if (const OnnxInitializer* const embedding = find_initializer(model_, kEmbedding))
      tensors_.push_back({std::string(kEmbedding), embedding->dims, embedding->name, 0});
    return std::move(tensors_);
  }

 private:
  static constexpr std::string_view kEmbedding = "model.embed_tokens.weight";

  // Rows of q, k and v, one below the other.
  void add_joined(const std::string& layer, std::string_view kind, const std::string& values, std::uint64_t rows,
                  std::optional<std::uint64_t> cols) {
    const Heads heads = heads_of(model_, layer, source_);
    if (rows % heads.all() != 0)
      refuse(ErrorKind::corrupt, source_,
             fmt::format("{} has no rows for {} heads: {}", quote_name(values), heads.all(), rows));
    const std::uint64_t head = rows / heads.all();
    std::uint64_t first = 0;
    for (const auto& [name, count] : {std::pair{"q", heads.queries}, {"k", heads.keys}, {"v", heads.keys}}) {
      Shape shape = {count * head};
      if (cols) shape.push_back(*cols);
      tensors_.push_back({fmt::format("{}{}.self_attn.{}_proj.{}", kLayers, layer, name, kind), shape, values, first});
      first += count * head;
    }
  }

  void add_matrix(const OnnxNode& node) {
    const bool is_coded = node.op == "MatMulNBits" && node.domain == kMicrosoftDomain && node.inputs.size() >= 3;
    if (!is_coded) {
      const bool is_plain = node.op == "MatMul" && node.inputs.size() == 2 && find_initializer(model_, node.inputs[1]);
      if (is_plain)
        refuse(ErrorKind::unsupported, source_,
               fmt::format("matrices in floating point lie transposed in packages of the builder, and are not read; "
                           "take one with all in codes: {}",
                           quote_name(node.inputs[1])));
      return;
    }
    const std::uint64_t rows = attribute_of(model_, node.name, "N", source_),
                        cols = attribute_of(model_, node.name, "K", source_);
    const std::string& values = node.inputs[1];
    if (node.name.starts_with(kHeadNode)) {
      const bool is_shared = std::ranges::any_of(model_.nodes, [&](const OnnxNode& other) {
        return other.op == "Reshape" && !other.inputs.empty() && other.inputs[0] == values;
      });
      tensors_.push_back({is_shared ? std::string(kEmbedding) : "lm_head.weight", {rows, cols}, values, 0});
      return;
    }
    const auto place = place_of(node.name, kNodes, '/');
    const std::size_t end = place ? place->rest.rfind("/MatMul") : std::string_view::npos;
    const std::string_view path = end == std::string_view::npos ? std::string_view() : place->rest.substr(0, end);
    if (path == "attn/qkv_proj") return add_joined(place->layer, "weight", values, rows, cols);
    for (const auto& [own, usual] : kMatrices)
      if (path == own) {
        tensors_.push_back({fmt::format("{}{}.{}.weight", kLayers, place->layer, usual), {rows, cols}, values, 0});
        return;
      }
    refuse(ErrorKind::unsupported, source_,
           fmt::format("a matrix is none of a family that is read: {}", quote_name(node.name)));
  }

  void add_vector(const OnnxInitializer& one) {
    const auto place = place_of(one.name, kLayers, '.');
    if (!place || one.dims.size() != 1 || place->rest.find(".MatMul.") != std::string_view::npos) return;
    const auto add = [&](std::string name) { tensors_.push_back({std::move(name), one.dims, one.name, 0}); };
    const std::string layer = fmt::format("{}{}.", kLayers, place->layer);
    std::string_view path = place->rest;
    if (path == "final_norm_layernorm.weight") return add("model.norm.weight");
    for (const auto& [own, usual] : kNorms)
      if (path == own) return add(layer + std::string(usual));
    constexpr std::string_view kBias = ".bias", kAdd = ".Add";
    if (path.ends_with(kBias)) {
      path.remove_suffix(kBias.size());
      if (path.ends_with(kAdd)) path.remove_suffix(kAdd.size());
      if (path == "attn.qkv_proj") return add_joined(place->layer, "bias", one.name, one.dims[0], std::nullopt);
      for (const auto& [own, usual] : kMatrices)
        if (std::ranges::equal(path, own, [](char a, char b) { return a == b || (a == '.' && b == '/'); }))
          return add(layer + std::string(usual) + ".bias");
    }
    refuse(ErrorKind::unsupported, source_,
           fmt::format("a constant is none of a family that is read: {}", quote_name(one.name)));
  }

  static constexpr std::array<std::pair<std::string_view, std::string_view>, 7> kMatrices = {
      {{"attn/q_proj", "self_attn.q_proj"},
       {"attn/k_proj", "self_attn.k_proj"},
       {"attn/v_proj", "self_attn.v_proj"},
       {"attn/o_proj", "self_attn.o_proj"},
       {"mlp/gate_proj", "mlp.gate_proj"},
       {"mlp/up_proj", "mlp.up_proj"},
       {"mlp/down_proj", "mlp.down_proj"}}};
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kNorms = {
      {{"input_layernorm.weight", "input_layernorm.weight"},
       {"post_attention_layernorm.weight", "post_attention_layernorm.weight"},
       {"attn.q_norm.layernorm.weight", "self_attn.q_norm.weight"},
       {"attn.k_norm.layernorm.weight", "self_attn.k_norm.weight"}}};

  const OnnxModel& model_;
  const std::string& source_;
  std::vector<OnnxTensor> tensors_;
};

Json settings_of(const std::string& text, const std::string& source) {
  if (text.empty())
    refuse(ErrorKind::unsupported, source,
           fmt::format("nothing says what network this is: {} is not beside it", kGenaiSettings));
  const Json settings = parse_json(text, kGenaiSettings);
  if (!settings.is_object() || !settings.contains("model") || !settings["model"].is_object())
    refuse(ErrorKind::corrupt, source, fmt::format("{} describes no model", kGenaiSettings));
  return settings["model"];
}

const Family& family_of(const Json& settings, const std::string& source) {
  const std::string type = settings.contains("type") && settings["type"].is_string() ? settings["type"] : Json("");
  const auto found = std::ranges::find(kFamilies, type, &Family::type);
  if (found != kFamilies.end()) return *found;
  refuse(ErrorKind::unsupported, source,
         fmt::format("packages of the builder are read of llama, mistral, qwen2 and qwen3, not of {}: start from the "
                     "model that it was made from",
                     quote_name(type)));
}

// The number whose powers the frequencies of positions are, by the angles of position 1. cosines, sines: [positions,
// pairs].
double rope_base(std::span<const float> cosines, std::span<const float> sines, std::uint64_t pairs,
                 const std::string& source) {
  std::vector<double> angles(pairs);
  if (pairs < 2 || cosines.size() < 2 * pairs || sines.size() != cosines.size())
    refuse(ErrorKind::corrupt, source, "cos_cache and sin_cache hold no position 1");
  for (std::uint64_t i = 0; i < pairs; ++i)
    angles[i] = std::atan2(static_cast<double>(sines[pairs + i]), static_cast<double>(cosines[pairs + i]));
  const auto exponent = [&](std::uint64_t i) { return -static_cast<double>(i) / static_cast<double>(pairs); };
  const double found = std::pow(angles.back(), 1 / exponent(pairs - 1));
  if (!(found > 1 && found < 1e12))
    refuse(ErrorKind::corrupt, source, "cos_cache and sin_cache are of no rotary positions");
  const double digits = std::pow(10.0, 5 - std::floor(std::log10(found))), base = std::round(found * digits) / digits;
  for (std::uint64_t i = 0; i < pairs; ++i)
    if (!(std::fabs(angles[i] / std::pow(base, exponent(i)) - 1) < 1e-5))
      refuse(ErrorKind::unsupported, source,
             "positions turn by frequencies that are scaled, which config.json would say how: put that of the model "
             "that the package was made from beside it");
  return base;
}

}  // namespace

bool is_builder_model(const OnnxModel& model) {
  return std::ranges::any_of(model.nodes, [](const OnnxNode& node) {
    const auto place = place_of(node.name, kNodes, '/');
    return place && place->rest == "attn/GroupQueryAttention";
  });
}

std::vector<OnnxTensor> builder_tensors(const OnnxModel& model, const std::string& settings,
                                        const std::string& source) {
  family_of(settings_of(settings, source), source);
  std::vector<OnnxTensor> tensors = BuilderTensors(model, source).list();
  for (const OnnxTensor& tensor : tensors)
    checked_elements(tensor.shape, fmt::format("{}: tensor {}", source, quote_name(tensor.name)));
  return tensors;
}

std::string builder_config(const OnnxModel& model, const std::string& settings,
                           const std::function<std::vector<float>(std::string_view)>& floats_of,
                           const std::string& source) {
  const Json said = settings_of(settings, source);
  const Family& family = family_of(said, source);
  const Json decoder = said.value("decoder", Json::object());
  const std::string attention = fmt::format("{}0/attn/GroupQueryAttention", kNodes);
  const auto number = [&](const Json& object, const char* key) {
    const auto found = object.find(key);
    if (found == object.end() || !found->is_number_unsigned() || *found == 0)
      refuse(ErrorKind::corrupt, source, fmt::format("{} has no {}", kGenaiSettings, key));
    return found->get<std::uint64_t>();
  };
  const std::uint64_t head = number(decoder, "head_size");
  const auto gate = std::ranges::find_if(model.nodes, [](const OnnxNode& node) {
    return node.name.starts_with("/model/layers.0/mlp/gate_proj/MatMul") && node.integer("N") != nullptr;
  });
  const auto norm = std::ranges::find_if(model.nodes, [](const OnnxNode& node) {
    return node.op.ends_with("SimplifiedLayerNormalization") && node.real("epsilon") != nullptr;
  });
  if (gate == model.nodes.end() || norm == model.nodes.end())
    refuse(ErrorKind::corrupt, source, "its first layer has no gate_proj, or its norms no epsilon");
  const bool is_tied = std::ranges::none_of(builder_tensors(model, settings, source),
                                            [](const OnnxTensor& tensor) { return tensor.name == "lm_head.weight"; });
  Json config = {{"architectures", {family.architecture}},
                 {"model_type", family.type},
                 {"hidden_size", number(decoder, "hidden_size")},
                 {"intermediate_size", *gate->integer("N")},
                 {"num_hidden_layers", number(decoder, "num_hidden_layers")},
                 {"num_attention_heads", attribute_of(model, attention, "num_heads", source)},
                 {"num_key_value_heads", attribute_of(model, attention, "kv_num_heads", source)},
                 {"head_dim", head},
                 {"vocab_size", number(said, "vocab_size")},
                 {"max_position_embeddings", number(said, "context_length")},
                 {"rms_norm_eps", *norm->real("epsilon")},
                 {"rope_theta", rope_base(floats_of("cos_cache"), floats_of("sin_cache"), head / 2, source)},
                 {"hidden_act", "silu"},
                 {"tie_word_embeddings", is_tied},
                 {"sliding_window", nullptr}};
  if (const OnnxNode* const node = find_node(model, attention))
    if (const std::int64_t* const window = node->integer("local_window_size"); window != nullptr && *window > 0)
      config["sliding_window"] = *window;
  if (family.type == "llama")
    config["attention_bias"] = std::ranges::any_of(model.initializers, [](const OnnxInitializer& one) {
      return one.name.starts_with("model.layers.0.attn.") && one.name.ends_with(".bias");
    });
  for (const char* const key : {"bos_token_id", "eos_token_id", "pad_token_id"})
    if (const auto id = said.find(key); id != said.end()) config[key] = *id;
  return dump_json(config, 2) + "\n";
}

}  // namespace nibble
