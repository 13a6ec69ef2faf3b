// SPDX-License-Identifier: Apache-2.0
#include "model/stored_activations.h"

#include <fmt/format.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "io/json_text.h"
#include "nibble/error.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kFormatKey = "nibble.activations.format", kTensorsKey = "nibble.activations.tensors",
                           kScalesKey = "nibble.activations.scales", kZerosKey = "nibble.activations.zero_points";
constexpr std::string_view kWeight = ".weight", kScale = ".input_scale", kZero = ".input_zero_point";
constexpr std::string_view kWideKey = "wide_columns";  // in a scheme of groups: true
constexpr ActivationFormat kUnsized{};                 // what "a8" meant before formats said their grain

template <class... Arguments>
[[noreturn]] void corrupt(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  throw Error(ErrorKind::corrupt, fmt::format(format, std::forward<Arguments>(arguments)...));
}

void add_grid(StoredActivations& activations, const std::string& source, const std::string& weight,
              const ActivationGrid& grid) {
  if (const auto defect = find_activation_grid_defect(grid))
    corrupt("{}: the inputs of '{}': {}", source, weight, *defect);
  activations.grids.insert_or_assign(weight, grid);
}

StoredActivations read_gguf(const Checkpoint& checkpoint) {
  StoredActivations result;
  const GgufMetadata& metadata = checkpoint.gguf();
  const std::string source = checkpoint.path().string();
  const auto name = metadata.string(kFormatKey);
  if (!name) return result;
  try {
    result.format = *name == "a8" ? kUnsized : parse_activation_format(*name);
  } catch (const Error& error) {
    throw Error(ErrorKind::unsupported, fmt::format("{}: metadata key '{}': {}", source, kFormatKey, error.what()));
  }
  if (!result.format->is_static()) return result;
  const std::vector<std::string>* const tensors = metadata.strings(kTensorsKey);
  const auto scales = metadata.numbers(kScalesKey);
  const auto zeros = metadata.numbers(kZerosKey);
  if (tensors == nullptr || !scales || scales->size() != tensors->size() ||
      (zeros && zeros->size() != tensors->size()) || (result.format->is_asymmetric && !zeros))
    corrupt("{}: metadata keys '{}', '{}' and '{}' should be lists of the same length", source, kTensorsKey, kScalesKey,
            kZerosKey);
  for (std::size_t i = 0; i < tensors->size(); ++i) {
    const double zero = zeros ? (*zeros)[i] : 0;
    if (!(zero >= kLowestActivation && zero <= kHighestActivation) || (zero != 0 && !result.format->is_asymmetric))
      corrupt("{}: the inputs of '{}': zero point is no code, or the format has none: {}", source, (*tensors)[i], zero);
    add_grid(result, source, (*tensors)[i], {static_cast<float>((*scales)[i]), static_cast<std::int32_t>(zero)});
  }
  return result;
}

Json scheme_json(ActivationFormat format) {
  const bool is_run = format.grain == ActivationGrain::run;
  Json json = {
      {"num_bits", format.wide == WideColumns::all ? 16 : 8}, {"type", "int"}, {"symmetric", !format.is_asymmetric}};
  json["strategy"] = format.is_static() ? "tensor" : is_run ? "group" : "token";
  if (is_run) json["group_size"] = format.run;
  json["dynamic"] = !format.is_static();
  if (format.wide == WideColumns::some) json[kWideKey] = true;
  return json;
}

ActivationFormat scheme_of(const Json& json, const std::string& source) {
  for (const ActivationFormat format : activation_formats()) {
    bool same = json.is_object();
    const Json scheme = scheme_json(format);
    for (const auto& [key, value] : scheme.items()) same = same && json.contains(key) && json[key] == value;
    if (same && json.value(kWideKey, Json(false)) == Json(scheme.contains(kWideKey))) return format;
  }
  throw Error(ErrorKind::unsupported, fmt::format("{}: quantization_config: input_activations are of a kind that is "
                                                  "not known here; leave them away to have inputs rounded as "
                                                  "they come: {}",
                                                  source, dump_json(json)));
}

// A tensor of one element, which is of a type that has these bytes.
const StoredTensor& require_scalar(const Checkpoint& checkpoint, const StoredTensor& stored, bool has_type,
                                   std::string_view type, std::size_t bytes) {
  if (!has_type || stored.data.size() != bytes)
    corrupt("{}: tensor '{}' in {} should be one element of {} but is {} {}", checkpoint.path().string(), stored.name,
            stored.file, type, stored.type_name, shape_text(stored.shape));
  return stored;
}

// Here scales are F32, elsewhere of the type that the model is in.
float read_scale(const Checkpoint& checkpoint, const StoredTensor& stored) {
  const bool is_half = stored.type_name == "F16" || stored.type_name == "BF16";
  require_scalar(checkpoint, stored, is_half || stored.type_name == "F32", "F32", is_half ? 2 : sizeof(float));
  return stored.values.decode().front();
}

// An absent tensor is none.
std::optional<std::int8_t> read_zero(const Checkpoint& checkpoint, const std::string& name) {
  const StoredTensor* const stored = checkpoint.find(name);
  if (stored == nullptr) return std::nullopt;
  require_scalar(checkpoint, *stored, stored->type_name == "I8", "I8", 1);
  return std::to_integer<std::int8_t>(stored->data.front());
}

void read_grids(const Checkpoint& checkpoint, StoredActivations& result) {
  for (const StoredTensor& tensor : checkpoint.tensors()) {
    if (!tensor.name.ends_with(kScale)) continue;
    const std::string layer = tensor.name.substr(0, tensor.name.size() - kScale.size());
    const auto zero = read_zero(checkpoint, layer + std::string(kZero));
    if (result.format->is_asymmetric && !zero)
      corrupt("{}: there is no tensor '{}{}'", checkpoint.path().string(), layer, kZero);
    add_grid(result, checkpoint.path().string(), layer + std::string(kWeight),
             {read_scale(checkpoint, tensor), zero.value_or(0)});
  }
}

StoredActivations read_directory(const Checkpoint& checkpoint) {
  StoredActivations result;
  const std::string source = (checkpoint.path() / "config.json").string();
  if (const auto& foreign = checkpoint.layer_reading().activations) {
    result.format = foreign;
    if (foreign->is_static()) read_grids(checkpoint, result);
    return result;
  }
  if (checkpoint.config_json().empty()) return result;
  const Json config = parse_json(checkpoint.config_json(), source);
  if (!config.is_object() || !config.contains("quantization_config") || !config["quantization_config"].is_object())
    return result;
  const Json& container = config["quantization_config"];
  if (container.value("quant_method", Json()) != "nibble" || !container.contains("input_activations")) return result;
  result.format = scheme_of(container["input_activations"], source);
  if (result.format->is_static()) read_grids(checkpoint, result);
  return result;
}

std::string layer_of(std::string_view weight) {
  return std::string(weight.ends_with(kWeight) ? weight.substr(0, weight.size() - kWeight.size()) : weight);
}

}  // namespace

const ActivationGrid* StoredActivations::find(std::string_view weight) const {
  const auto found = grids.find(weight);
  return found == grids.end() ? nullptr : &found->second;
}

StoredActivations read_activations(const Checkpoint& checkpoint) {
  return checkpoint.kind() == ContainerKind::gguf ? read_gguf(checkpoint) : read_directory(checkpoint);
}

void put_activations(const StoredActivations& activations, GgufMetadata& metadata) {
  for (const std::string_view key : {kFormatKey, kTensorsKey, kScalesKey, kZerosKey}) metadata.erase(key);
  if (!activations.format) return;
  metadata.set(std::string(kFormatKey), GgufValue::of_string(activation_format_name(*activations.format)));
  if (!activations.format->is_static()) return;
  std::vector<std::string> tensors;
  std::vector<float> scales;
  std::vector<std::int32_t> zeros;
  for (const auto& [weight, grid] : activations.grids) {
    tensors.push_back(weight);
    scales.push_back(grid.scale);
    zeros.push_back(grid.zero);
  }
  metadata.set(std::string(kTensorsKey), GgufValue::of_strings(std::move(tensors)));
  metadata.set(std::string(kScalesKey), GgufValue::of_f32s(scales));
  metadata.set(std::string(kZerosKey), GgufValue::of_i32s(zeros));
}

std::string with_activations(const StoredActivations& activations, const std::string& config_json) {
  if (!activations.format) return config_json;
  Json config = parse_json(config_json, "config.json");
  Json& container = config["quantization_config"];
  container["quant_method"] = "nibble";
  container["input_activations"] = scheme_json(*activations.format);
  return dump_json(config, 2) + "\n";
}

std::vector<SideTensor> activation_tensors(const StoredActivations& activations) {
  std::vector<SideTensor> tensors;
  const auto put = [&](std::string name, DType dtype, const auto& value) {
    Tensor tensor{dtype, {1}, std::vector<std::byte>(sizeof value)};
    std::memcpy(tensor.bytes.data(), &value, sizeof value);
    tensors.push_back({std::move(name), std::move(tensor)});
  };
  for (const auto& [weight, grid] : activations.grids) {
    put(layer_of(weight) + std::string(kScale), DType::f32, grid.scale);
    if (activations.format->is_asymmetric)
      put(layer_of(weight) + std::string(kZero), DType::i8, static_cast<std::int8_t>(grid.zero));
  }
  return tensors;
}

ActivationFormat activations_of_site(ActivationFormat format, std::string_view part) {
  if (format.wide == WideColumns::some && (part == "down" || part == "shared_down" || part.starts_with("expert_down")))
    format.wide = WideColumns::few;
  if (format.wide == WideColumns::some && (part == "head" || part == "embedding")) format.wide = WideColumns::many;
  return format;
}

bool is_activation_tensor(std::string_view name) { return name.ends_with(kScale) || name.ends_with(kZero); }

}  // namespace nibble
