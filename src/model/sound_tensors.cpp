// SPDX-License-Identifier: Apache-2.0
#include "model/sound_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <optional>

#include "io/message_text.h"
#include "model/stored_activations.h"
#include "nibble/error.h"
#include "tensor/shape.h"

namespace nibble {
namespace {

// Of old checkpoints: what follows from the configuration.
constexpr std::array<std::string_view, 5> kDerived = {"rotary_emb.inv_freq", "rotary_emb.cos_cached",
                                                      "rotary_emb.sin_cached", "attn.masked_bias",
                                                      "attn_rot_embd.weight"};

struct Place {
  std::uint64_t number = 0;
  std::string_view rest;  // behind the number and its point
};

// The number that follows `before` in a name; nothing where none does.
std::optional<Place> place_behind(std::string_view name, std::string_view before) {
  if (!name.starts_with(before)) return std::nullopt;
  Place place;
  const char* const end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(name.data() + before.size(), end, place.number);
  if (error != std::errc() || stop == end || *stop != '.') return std::nullopt;
  place.rest = name.substr(static_cast<std::size_t>(stop - name.data()) + 1);
  return place;
}

std::string_view pattern_of(const TensorName& name, Spelling spelling) {
  return spelling == Spelling::gguf ? name.gguf : name.hf;
}
std::string_view other_pattern_of(const TensorName& name, Spelling spelling) {
  return spelling == Spelling::gguf ? name.gguf_joint : name.hf_stack;
}

std::string_view prefix_of(std::string_view pattern) {
  const std::size_t end = pattern.find("{}");
  return end == std::string_view::npos ? std::string_view{} : pattern.substr(0, end);
}

// "model.layers.", or "blk.", and what else directories of a family call its layers.
std::vector<std::string_view> layer_prefixes(const Architecture& architecture, Spelling spelling) {
  std::vector<std::string_view> prefixes;
  for (const TensorName& name : architecture.names)
    for (const std::string_view pattern : {pattern_of(name, spelling), other_pattern_of(name, spelling)})
      if (const std::string_view prefix = prefix_of(pattern);
          !prefix.empty() && std::ranges::find(prefixes, prefix) == prefixes.end())
        prefixes.push_back(prefix);
  return prefixes;
}

// Of experts beyond those that the configuration counts.
bool is_further_expert(const Architecture& architecture, Spelling spelling, const Place& place) {
  return std::ranges::any_of(architecture.names, [&](const TensorName& name) {
    const std::string_view pattern = pattern_of(name, spelling), prefix = prefix_of(pattern);
    const std::size_t expert = pattern.find("{}", prefix.size() + 2);
    if (prefix.empty() || expert == std::string_view::npos) return false;
    const auto which = place_behind(place.rest, pattern.substr(prefix.size() + 3, expert - prefix.size() - 3));
    return which && which->rest == pattern.substr(expert + 3);
  });
}

// A choice of the configuration made otherwise, and what to say where the network would have the tensor then.
struct OtherChoice {
  std::function<void(ModelConfig&)> choose;
  std::string words;
};

std::vector<OtherChoice> other_choices(const ModelConfig& config, const ConfigKeys& keys, std::uint64_t layer,
                                       bool is_gguf) {
  std::vector<OtherChoice> choices;
  const auto add = [&](std::function<void(ModelConfig&)> choose, std::string words) {
    choices.push_back({std::move(choose), std::move(words)});
  };
  const auto bias_words = [&](const std::string& key) {
    return is_gguf ? "the first layer has no such bias" : fmt::format("{} is not true", key);
  };
  add([](ModelConfig& c) { c.attention_bias = c.output_bias = true; }, bias_words(keys.attention_bias));
  add([](ModelConfig& c) { c.mlp_bias = true; }, bias_words(keys.mlp_bias));
  if (config.num_experts == 0)
    add([](ModelConfig& c) { c.num_experts = c.experts_used = c.expert_intermediate = c.shared_intermediate = 1; },
        keys.experts_switch.empty() ? fmt::format("the configuration counts no experts ({})",
                                                  is_gguf ? "expert_count" : "num_experts, num_local_experts")
                                    : fmt::format("{} is not true", keys.experts_switch));
  else
    add([](ModelConfig& c) { c.dense.clear(); }, "the configuration has no experts in this layer");
  if (config.num_experts != 0)
    add([](ModelConfig& c) { c.dense.assign(c.layers, true); },
        "the configuration has experts in place of this layer's MLP");
  if (!config.recurs.empty())
    add([](ModelConfig& c) { c.recurs.flip(); },
        fmt::format(
            "the configuration says that layer {} {} ({})", layer, config.recurs[layer] ? "recurs" : "attends",
            is_gguf ? "attention.recurrent_layers, full_attention_interval" : "layer_types, full_attention_interval"));
  if (config.per_layer_width == 0)
    add([](ModelConfig& c) { c.per_layer_width = 1; }, fmt::format("{} is not above 0", keys.per_layer_width));
  if (config.full_keys_are_values)
    add([](ModelConfig& c) { c.full_keys_are_values = false; }, "attention_k_eq_v is true");
  return choices;
}

// What the configuration would have to say for a network with this tensor.
std::string contradiction(const Architecture& architecture, const ModelConfig& config, const Checkpoint& checkpoint,
                          const StoredTensor& stored, const Place& place) {
  const Spelling spelling = spelling_of(checkpoint);
  const ConfigKeys keys = config_keys(checkpoint);
  if (place.number >= config.layers) return fmt::format("{} counts fewer layers: {}", keys.layers, config.layers);
  if (config.has_experts(static_cast<std::int64_t>(place.number)) && is_further_expert(architecture, spelling, place))
    return fmt::format("{} counts fewer experts: {}", keys.num_experts, config.num_experts);
  for (const OtherChoice& other : other_choices(config, keys, place.number, spelling == Spelling::gguf)) {
    ModelConfig chosen = config;
    other.choose(chosen);
    try {
      const ModelTensor* const part = ModelTensors(chosen).find(stored.name);
      if (part != nullptr) return other.words;
    } catch (const Error&) {
      // No network goes with this choice.
    }
  }
  const bool is_named = std::ranges::any_of(architecture.names, [&](const TensorName& name) {
    const std::string_view pattern = pattern_of(name, spelling), prefix = prefix_of(pattern);
    return !prefix.empty() && pattern.size() > prefix.size() + 3 && pattern.substr(prefix.size() + 3) == place.rest;
  });
  return is_named ? fmt::format("the configuration leaves it out of layer {}", place.number)
                  : fmt::format("networks of the family {} have no such part", architecture.name);
}

// What would make keys and values in a layer that shares those of another: files keep it, and nothing reads it.
bool is_left_by_sharing(const Architecture& architecture, const ModelConfig& config, Spelling spelling,
                        const Place& place) {
  if (config.sharing_layers == 0 || place.number >= config.layers ||
      !config.is_sharing(static_cast<std::int64_t>(place.number)))
    return false;
  return std::ranges::any_of(architecture.names, [&](const TensorName& name) {
    const std::string_view pattern = pattern_of(name, spelling);
    const std::size_t behind = prefix_of(pattern).size() + 3;  // "{}."
    return (name.part == "k" || name.part == "v" || name.part == "k_norm") && pattern.size() > behind &&
           pattern.substr(behind) == place.rest;
  });
}

// --- shapes ----------------------------------------------------------------------------------------------------------

Shape held_shape(const ModelTensor& part, const Holding& holding, Spelling spelling) {
  Shape shape = part.file_shape(spelling);
  if (holding.is_run) shape.front() = part.run(spelling).whole;
  if (!holding.is_stack) return shape;
  shape.front() *= holding.kinds;
  if (holding.is_turned) std::ranges::reverse(shape);
  shape.insert(shape.begin(), part.experts);
  return shape;
}

// The sizes that shapes follow from, by what containers call them.
struct SizeKey {
  std::uint64_t ModelConfig::* size;
  std::string ConfigKeys::* key;
  std::uint64_t ModelConfig::* multiple = nullptr;  // that the size must divide; null: none
};
constexpr auto kSizeKeys = std::to_array<SizeKey>({
    {&ModelConfig::vocab_size, &ConfigKeys::vocab_size},
    {&ModelConfig::hidden, &ConfigKeys::hidden},
    {&ModelConfig::intermediate, &ConfigKeys::intermediate},
    {&ModelConfig::sharing_intermediate, &ConfigKeys::sharing_intermediate},
    {&ModelConfig::heads, &ConfigKeys::heads},
    {&ModelConfig::kv_heads, &ConfigKeys::kv_heads, &ModelConfig::heads},
    {&ModelConfig::full_kv_heads, &ConfigKeys::full_kv_heads, &ModelConfig::heads},
    {&ModelConfig::head_dim, &ConfigKeys::head_dim},
    {&ModelConfig::full_head_dim, &ConfigKeys::full_head_dim},
    {&ModelConfig::num_experts, &ConfigKeys::num_experts},
    {&ModelConfig::expert_intermediate, &ConfigKeys::expert_intermediate},
    {&ModelConfig::shared_intermediate, &ConfigKeys::shared_intermediate},
    {&ModelConfig::per_layer_width, &ConfigKeys::per_layer_width},
    {&ModelConfig::delta_heads, &ConfigKeys::delta_heads},
    {&ModelConfig::delta_key_heads, &ConfigKeys::delta_key_heads, &ModelConfig::delta_heads},
    {&ModelConfig::delta_key_dim, &ConfigKeys::delta_key_dim},
    {&ModelConfig::delta_value_dim, &ConfigKeys::delta_value_dim},
    {&ModelConfig::convolution_taps, &ConfigKeys::convolution_taps},
    {&ModelConfig::latent, &ConfigKeys::latent},
    {&ModelConfig::query_latent, &ConfigKeys::query_latent},
    {&ModelConfig::plain_key_dim, &ConfigKeys::plain_key_dim},
    {&ModelConfig::value_dim, &ConfigKeys::value_dim},
});

// The same model with another number in place of one size.
ModelConfig with_another_size(const ModelConfig& config, const SizeKey& key) {
  ModelConfig other = config;
  std::uint64_t& size = other.*key.size;
  if (key.multiple == nullptr)
    size *= 2;
  else
    size = size == 1 ? config.*key.multiple : 1;
  return other;
}

// The keys, with their values, that the extents follow from in which a tensor is another than is asked for: those that
// would change them. Empty: none does.
std::string keys_behind(const Checkpoint& checkpoint, const ModelConfig& config, const ModelTensor& part,
                        const StoredTensor& stored, const Holding& holding) {
  const Spelling spelling = spelling_of(checkpoint);
  const Shape wanted = held_shape(part, holding, spelling);
  const auto changes = [&](const SizeKey& key) {
    try {
      const ModelTensors others(with_another_size(config, key));
      const ModelTensor* const other = others.part(part.part, part.layer);
      if (other == nullptr) return false;
      const Shape shape = held_shape(*other, holding, spelling);
      for (std::size_t i = 0; i < wanted.size() && shape.size() == wanted.size(); ++i)
        if (shape[i] != wanted[i] && (stored.shape.size() != wanted.size() || stored.shape[i] != wanted[i]))
          return true;
    } catch (const Error&) {
      // No network has this number beside the others.
    }
    return false;
  };
  const ConfigKeys names = config_keys(checkpoint);
  std::string text;
  for (const SizeKey& key : kSizeKeys)
    if (config.*key.size != 0 && !(names.*key.key).empty() && changes(key))
      text += fmt::format("{}{}: {}", text.empty() ? "" : ", ", names.*key.key, config.*key.size);
  return text;
}

}  // namespace

void require_shape(const Checkpoint& checkpoint, const ModelConfig& config, const ModelTensor& part,
                   const StoredTensor& stored, const Holding& holding) {
  const Spelling spelling = spelling_of(checkpoint);
  const Shape wanted = held_shape(part, holding, spelling);
  const bool is_fitting = is_same_shape(stored.shape, wanted);
  if (is_fitting && stored.values.format()) return;
  const std::filesystem::path& path = checkpoint.path();
  const std::string place = fmt::format(
      "{}: tensor {}",
      ((checkpoint.kind() == ContainerKind::huggingface ? path : path.parent_path()) / stored.file).string(),
      quote_name(stored.name));
  if (is_fitting)
    throw Error(ErrorKind::unsupported,
                fmt::format("{} has elements that are no weights: {}", place, dtype_name(stored.dtype)));
  const std::string keys = keys_behind(checkpoint, config, part, stored, holding);
  throw Error(ErrorKind::corrupt, fmt::format("{} is {}, but {}{} asks for {}", place, shape_text(stored.shape),
                                              spelling == Spelling::gguf ? "the file's header" : "config.json",
                                              keys.empty() ? "" : " (" + keys + ")", shape_text(wanted)));
}

void require_half(const Checkpoint& checkpoint, const StoredTensor& stored, const Shape& wanted) {
  const std::string place = fmt::format("{}: tensor {}", checkpoint.path().string(), quote_name(stored.name));
  if (!is_same_shape(stored.shape, wanted))
    throw Error(ErrorKind::corrupt,
                fmt::format("{} is {}, but the file's header (attention.head_count, attention.kv_lora_rank, "
                            "attention.key_length_mla, attention.value_length_mla) asks for {}",
                            place, shape_text(stored.shape), shape_text(wanted)));
  if (!stored.values.format())
    throw Error(ErrorKind::unsupported,
                fmt::format("{} has elements that are no weights: {}", place, dtype_name(stored.dtype)));
}

void require_no_strangers(const Checkpoint& checkpoint, const ModelConfig& config, const ModelTensors& parts) {
  const Spelling spelling = spelling_of(checkpoint);
  const std::vector<std::string_view> prefixes = layer_prefixes(parts.architecture(), spelling);
  for (const StoredTensor& stored : checkpoint.tensors()) {
    std::optional<Place> place;
    for (std::size_t i = 0; i < prefixes.size() && !place; ++i) place = place_behind(stored.name, prefixes[i]);
    if (!place || !stored.values.format() || parts.find(stored.name) != nullptr || is_activation_tensor(stored.name))
      continue;
    if (place->number >= config.layers && place->number - config.layers < config.guessing_layers) continue;
    if (is_left_by_sharing(parts.architecture(), config, spelling, *place)) continue;
    if (std::ranges::any_of(kDerived, [&](std::string_view ending) { return stored.name.ends_with(ending); })) continue;
    throw Error(
        ErrorKind::corrupt,
        fmt::format("{}: tensor {} is part of no network that the configuration means: {}", checkpoint.path().string(),
                    quote_name(stored.name), contradiction(parts.architecture(), config, checkpoint, stored, *place)));
  }
}

}  // namespace nibble
