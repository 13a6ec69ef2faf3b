// SPDX-License-Identifier: Apache-2.0
#include "io/layers/compressed_tensors_groups.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "io/message_text.h"

namespace nibble {
namespace {

using Kind = CompressionGroup::Kind;
using Json = LayerSettings::Json;

constexpr std::string_view kExpression = "re:";

struct NamedKind {
  std::string_view format;
  Kind integers, floats;  // of weights of this type; dense: the format has none
};
constexpr auto kKinds = std::to_array<NamedKind>({{"pack-quantized", Kind::packed, Kind::dense},
                                                  {"int-quantized", Kind::int8, Kind::dense},
                                                  {"float-quantized", Kind::dense, Kind::fp8},
                                                  {"naive-quantized", Kind::int8, Kind::fp8},
                                                  {"nvfp4-pack-quantized", Kind::dense, Kind::nvfp4},
                                                  {"mxfp4-pack-quantized", Kind::dense, Kind::mxfp4},
                                                  {"mxfp8-quantized", Kind::dense, Kind::mxfp8}});

std::vector<ModuleTarget> read_targets(const LayerSettings& settings, std::string_view key) {
  std::vector<ModuleTarget> targets;
  const Json* const list = settings.find(key);
  if (list == nullptr) return targets;
  if (!list->is_array()) settings.refuse(key, "a list of modules is meant");
  for (const Json& item : *list) {
    if (!item.is_string()) settings.refuse(key, "a list of modules is meant");
    targets.emplace_back(item.get_ref<const std::string&>(), key);
  }
  return targets;
}

Kind read_kind(const LayerSettings& group, std::string_view format, const LayerSettings& weights) {
  if (format == "dense") return Kind::dense;
  const bool is_float = weights.text("type", {"int", "float"}, "int") == "float";
  const auto named = std::ranges::find(kKinds, format, &NamedKind::format);
  const Kind kind = named == kKinds.end() ? Kind::dense : is_float ? named->floats : named->integers;
  if (kind == Kind::dense)
    group.refuse("format", fmt::format("weights of type {} in the format {} are not read here",
                                       is_float ? "float" : "int", format));
  return kind;
}

// Where scales lie: of groups, rows, blocks or the tensor.
void read_grain(const LayerSettings& weights, CompressionGroup& group) {
  const bool has_groups = weights.find("group_size") != nullptr;
  const std::uint32_t size = has_groups ? weights.group_size() : 0;
  const std::string strategy = weights.text("strategy", {"tensor", "channel", "group", "tensor_group", "block"},
                                            !has_groups ? "tensor"
                                            : size == 0 ? "channel"
                                                        : "group");
  if (strategy == "tensor") group.grain = PlanarGrain::tensor;
  if (strategy == "group" || strategy == "tensor_group") {
    if (size == 0) weights.refuse("group_size", "groups need a size");
    group.grain = PlanarGrain::group;
    group.group = size;
  }
  if (strategy != "block") return;
  const Json* const block = weights.find("block_structure");
  const auto is_size = [](const Json& item) {
    return item.is_number_unsigned() && item.get<std::uint64_t>() >= 1 && item.get<std::uint64_t>() <= 1u << 20;
  };
  if (block == nullptr || !block->is_array() || block->size() != 2 || !is_size((*block)[0]) || !is_size((*block)[1]))
    weights.refuse("block_structure", "rows and columns of a block are meant, as in [128, 128]");
  group.grain = PlanarGrain::block;
  group.block_rows = (*block)[0].get<std::uint32_t>();
  group.group = (*block)[1].get<std::uint32_t>();
}

void require_held(const LayerSettings& weights, const CompressionGroup& group) {
  const auto strategy_among = [&](std::initializer_list<PlanarGrain> grains) {
    if (std::ranges::find(grains, group.grain) == grains.end())
      weights.refuse("strategy", fmt::format("not read in the format {}", group.format));
  };
  switch (group.kind) {
    case Kind::dense:
      return;
    case Kind::packed:
      weights.whole_number("num_bits", {2, 3, 4, 5, 6, 7, 8}, 8);
      return strategy_among({PlanarGrain::row, PlanarGrain::group});
    case Kind::int8:
      weights.whole_number("num_bits", {8}, 8);
      return strategy_among({PlanarGrain::row, PlanarGrain::group, PlanarGrain::tensor});
    case Kind::fp8:
      weights.whole_number("num_bits", {8}, 8);
      return;
    case Kind::mxfp8:
      weights.whole_number("num_bits", {8}, 8);
      weights.whole_number("group_size", {32});
      return;
    case Kind::mxfp4:
      weights.whole_number("num_bits", {4}, 8);
      weights.whole_number("group_size", {32});
      return;
    case Kind::nvfp4:
      weights.whole_number("num_bits", {4}, 8);
      weights.whole_number("group_size", {16});
      return;
  }
}

// By compressed-tensors' words; nothing where what they mean has no name here.
std::optional<ActivationFormat> read_activations(const LayerSettings& inputs) {
  const auto is = [&](std::string_view key, const Json& value, const Json& otherwise) {
    const Json* const found = inputs.find(key);
    return (found == nullptr ? otherwise : *found) == value;
  };
  if (!is("num_bits", 8, 8) || !is("type", "int", "int")) return std::nullopt;
  ActivationFormat format;
  format.is_asymmetric = is("symmetric", false, true);
  const bool is_dynamic = is("dynamic", true, false);
  if (is_dynamic && is("strategy", "token", "")) {
    format.grain = ActivationGrain::token;
    return format;
  }
  if (is("dynamic", false, false) && is("strategy", "tensor", "tensor")) {
    format.grain = ActivationGrain::tensor;
    return format;
  }
  if (!is_dynamic || !is("strategy", "group", "") || format.is_asymmetric) return std::nullopt;
  for (const std::uint16_t run : std::to_array<std::uint16_t>({32, 64, 128}))
    if (is("group_size", run, 0)) {
      format.run = run;
      return format;
    }
  return std::nullopt;
}

CompressionGroup read_group(const LayerSettings& settings, const std::string& key) {
  const LayerSettings groups = settings.inner("config_groups");
  if (groups.find(key) == nullptr || !groups.find(key)->is_object())
    groups.refuse(key, "names of presets are not read here; an object is meant");
  const LayerSettings own = groups.inner(key);
  CompressionGroup group;
  group.name = key;
  group.targets = read_targets(own, "targets");
  group.format = own.text("format", {}, settings.text("format", {}, "dense"));
  const LayerSettings weights = own.inner("weights");
  if (own.find("weights") != nullptr) {
    group.kind = read_kind(own.find("format") != nullptr ? own : settings, group.format, weights);
    group.bits = static_cast<unsigned>(weights.whole_number("num_bits", {}, 8));
    group.is_symmetric = weights.flag("symmetric", true);
    if (group.kind != Kind::dense) read_grain(weights, group);
    require_held(weights, group);
    if (weights.flag("dynamic", false)) weights.refuse("dynamic", "weights are quantized before they are stored");
  }
  if (own.find("input_activations") != nullptr) {
    group.rounds_inputs = true;
    group.activations = read_activations(own.inner("input_activations"));
  }
  return group;
}

}  // namespace

ModuleTarget::ModuleTarget(std::string_view text, std::string_view key) : text_(text) {
  if (text.starts_with(kExpression)) pattern_.emplace(text.substr(kExpression.size()), key);
}

ModuleTarget::Match ModuleTarget::match(std::string_view module) const {
  if (pattern_) return pattern_->matches(module) ? Match::expression : Match::none;
  if (module == text_) return Match::name;
  // Classes are known of the two kinds of layers that have matrices.
  const bool is_embedding = module.ends_with("embed_tokens");
  return text_ == (is_embedding ? "Embedding" : "Linear") ? Match::class_name : Match::none;
}

CompressionGroups::CompressionGroups(const LayerSettings& settings)
    : ignored_(settings, "ignore", ModuleList::Spelling::targets) {
  const Json* const groups = settings.find("config_groups");
  if (groups == nullptr || !groups->is_object()) settings.refuse("config_groups", "groups of layers are meant");
  for (const auto& [key, value] : groups->items()) groups_.push_back(read_group(settings, key));
  for (const char* const key : {"sparsity_config", "transform_config"}) {
    const Json* const other = settings.find(key);
    if (other == nullptr || other->empty()) continue;
    const LayerSettings inner = settings.inner(key);
    if (key == std::string_view("sparsity_config") && inner.text("format", {}, "dense") == "dense") continue;
    if (key == std::string_view("transform_config") && inner.find("config_groups") != nullptr &&
        inner.find("config_groups")->empty())
      continue;
    settings.refuse(key, "not read here");
  }
}

std::vector<std::string> CompressionGroups::idle_notes(std::span<const std::string> modules) const {
  std::vector<std::string> notes;
  for (const CompressionGroup& group : groups_)
    for (const ModuleTarget& target : group.targets) {
      const auto is_meant = [&](const std::string& module) {
        return target.match(module) != ModuleTarget::Match::none;
      };
      if (std::ranges::none_of(modules, is_meant))
        notes.push_back(fmt::format("no layer is meant by a target of config_groups.{}: {}", group.name,
                                    quote_name(target.text())));
    }
  return notes;
}

const CompressionGroup* CompressionGroups::find(std::string_view module) const {
  const CompressionGroup* const target = find_target(module);
  return target == nullptr && groups_.size() == 1 ? &groups_.front() : target;
}

const CompressionGroup* CompressionGroups::find_target(std::string_view module) const {
  const CompressionGroup* best = nullptr;
  const ModuleTarget* by = nullptr;
  auto nearest = ModuleTarget::Match::none;
  for (const CompressionGroup& group : groups_)
    for (const ModuleTarget& target : group.targets) {
      const auto match = target.match(module);
      if (match > nearest || match == ModuleTarget::Match::none) continue;
      if (match == nearest && by != nullptr && target.text() >= by->text()) continue;
      nearest = match;
      by = &target;
      best = &group;
    }
  return best;
}

}  // namespace nibble
