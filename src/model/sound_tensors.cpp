// SPDX-License-Identifier: Apache-2.0
#include "model/sound_tensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <nlohmann/json.hpp>
#include <optional>

#include "io/json_text.h"
#include "io/message_text.h"
#include "model/known_family.h"
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

std::string without_experts(const ModelConfig& config, bool is_gguf) {
  if (config.num_experts != 0) return "the configuration has no experts in this layer";
  return fmt::format("the configuration counts no experts ({})",
                     is_gguf ? "expert_count" : "num_experts, num_local_experts");
}

// What the configuration would have to say for a network with this tensor.
std::string contradiction(const Architecture& architecture, const ModelConfig& config, const Checkpoint& checkpoint,
                          const Place& place) {
  const Spelling spelling = spelling_of(checkpoint);
  const bool is_gguf = spelling == Spelling::gguf;
  if (place.number >= config.layers)
    return fmt::format(
        "{} counts fewer layers: {}",
        is_gguf ? "block_count" : own_key(parse_json(checkpoint.config_json(), "config.json"), "num_hidden_layers"),
        config.layers);
  for (const TensorName& name : architecture.names) {
    const std::string_view pattern = pattern_of(name, spelling), prefix = prefix_of(pattern);
    if (prefix.empty() || pattern.size() < prefix.size() + 3) continue;
    const std::string_view own = pattern.substr(prefix.size() + 3);  // behind "{}."
    const std::size_t expert = own.find("{}");
    if (expert != std::string_view::npos) {
      const auto which = place_behind(place.rest, own.substr(0, expert));
      if (which && which->rest == own.substr(expert + 3))
        return config.has_experts(static_cast<std::int64_t>(place.number))
                   ? fmt::format("the configuration counts fewer experts: {}", config.num_experts)
                   : without_experts(config, is_gguf);
    } else if (own == place.rest) {
      if (name.part == "router" || name.part.starts_with("expert_")) return without_experts(config, is_gguf);
      if (name.part == "gate" || name.part == "up" || name.part == "down")
        return "the configuration has experts in place of this layer's MLP";
      if (name.part.ends_with(".bias") && is_gguf) return "the first layer has no such bias";
      if (name.part.ends_with(".bias"))
        return fmt::format("{} is not true",
                           name.part.size() == 6 ? "attention_bias" : "mlp_bias");  // "q.bias" and "down.bias"
      if (!config.recurs.empty())
        return fmt::format(
            "the configuration says that layer {} {} ({})", place.number,
            config.recurs[place.number] ? "recurs" : "attends",
            is_gguf ? "attention.recurrent_layers, full_attention_interval" : "layer_types, full_attention_interval");
      return fmt::format("the configuration leaves it out of layer {}", place.number);
    }
  }
  return fmt::format("networks of the family {} have no such part", architecture.name);
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

}  // namespace

void require_sound_experts(const Checkpoint& checkpoint, const ModelConfig& config, const ConfigKeys& keys) {
  if (config.num_experts == 0 || config.layers > kMaxLayers) return;
  const Architecture& architecture = find_architecture(config.architecture);
  const Spelling spelling = spelling_of(checkpoint);
  const auto refuse = [&](const std::string& key, std::uint64_t said, const StoredTensor& tensor, std::uint64_t found) {
    throw Error(ErrorKind::corrupt, fmt::format("{}: {} contradicts tensor {}, which has {}: {}", keys.source, key,
                                                quote_name(tensor.name), found, said));
  };
  const auto stored = [&](std::string_view part, std::uint64_t layer) -> const StoredTensor* {
    const auto name = std::ranges::find(architecture.names, part, &TensorName::part);
    if (name == architecture.names.end()) return nullptr;
    std::string text(pattern_of(*name, spelling));
    for (const std::string& number : {std::to_string(layer), std::string("0")})
      if (const std::size_t at = text.find("{}"); at != std::string::npos) text.replace(at, 2, number);
    return checkpoint.find(text);
  };
  for (std::uint64_t layer = 0; layer < config.layers; ++layer) {
    if (!config.has_experts(static_cast<std::int64_t>(layer))) continue;
    if (const StoredTensor* const router = stored("router", layer); router != nullptr && router->shape.size() == 2)
      if (router->shape[0] != config.num_experts)
        refuse(keys.num_experts, config.num_experts, *router, router->shape[0]);
    const StoredTensor* const up = stored("expert_up", layer);
    if (up == nullptr || up->shape.size() < 2) continue;
    if (up->shape.size() == 3 && up->shape[0] != config.num_experts)
      refuse(keys.num_experts, config.num_experts, *up, up->shape[0]);
    if (const std::uint64_t width = up->shape[up->shape.size() - 2]; width != config.expert_intermediate)
      refuse(keys.expert_intermediate, config.expert_intermediate, *up, width);
  }
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
    throw Error(ErrorKind::corrupt, fmt::format("{}: tensor {} is part of no network that the configuration means: {}",
                                                checkpoint.path().string(), quote_name(stored.name),
                                                contradiction(parts.architecture(), config, checkpoint, *place)));
  }
}

}  // namespace nibble
