// SPDX-License-Identifier: Apache-2.0
#include "io/layers/layer_assembly.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <set>
#include <utility>

#include "io/json_text.h"
#include "io/layers/layer_scheme.h"
#include "io/message_text.h"
#include "io/packing/planar_words.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr auto kMethods = std::to_array<LayerMethod>({
    {"awq", read_awq_scheme},
    {"bitnet", read_bitnet_scheme},
    {"bitsandbytes", read_bitsandbytes_scheme},
    {"compressed-tensors", read_compressed_tensors_scheme},
    {"fp8", read_fp8_scheme},
    {"gptq", read_gptq_scheme},
    {"mlx", read_mlx_scheme},
    {"modelopt", read_modelopt_scheme},
    {"mxfp4", read_mxfp4_scheme},
});

// Codes are whole numbers or floats of 8 bits; positions, which models of floating-point numbers have, too, are not.
bool may_hold_codes(const StoredTensor& tensor) {
  constexpr std::array<std::string_view, 5> kOthers = {"F16", "BF16", "F32", "F64", "I64"};
  return std::ranges::find(kOthers, tensor.type_name) == kOthers.end();
}

// What was widened, by the reason: said once for all layers of a kind.
class WidenedLayers {
 public:
  void add(const LayerWeight& weight) {
    if (!weight.widened.empty()) ++counts_[{weight.values.format()->name(), weight.widened}];
  }
  void tell(std::vector<std::string>& notes) const {
    for (const auto& [kind, count] : counts_)
      notes.push_back(fmt::format("{} {} held as {}, which is exact and takes more bits than the files: {}", count,
                                  count == 1 ? "matrix is" : "matrices are", kind.first, kind.second));
  }

 private:
  std::map<std::pair<std::string, std::string>, std::size_t> counts_;
};

StoredTensor stored_weight(LayerWeight&& weight, const StoredTensor& codes, const LayerTensors& layer,
                           const std::vector<StoredTensor>& tensors) {
  StoredTensor stored;
  stored.name = weight.name.empty() ? layer.layer() + ".weight" : std::move(weight.name);
  stored.shape = weight.shape.empty() ? Shape{weight.values.rows(), weight.values.cols()} : std::move(weight.shape);
  stored.type_name = weight.values.format()->name();
  stored.values = std::move(weight.values);
  for (const std::size_t part : layer.taken()) stored.bytes += tensors[part].bytes;
  stored.file = codes.file;
  stored.offset = codes.offset;
  return stored;
}

// The weight of a layer that may hold codes.
std::optional<LayerWeight> read_layer(const LayerScheme& scheme, LayerTensors& layer, const std::string& place) {
  try {
    return scheme.read(layer);
  } catch (const MisfitError& error) {
    const std::string settings = scheme.shape_settings(layer.layer());
    if (settings.empty()) throw;
    throw Error(error.kind(), fmt::format("{} ({}: {})", error.what(), place, settings));
  }
}

LayerScheme::Said said_of(const LayerScheme& scheme, std::string_view layer, const std::string& directory) {
  try {
    return scheme.says_of(layer);
  } catch (const Error& error) {
    throw Error(error.kind(), fmt::format("{}: layer {}: {}", directory, quote_name(layer), error.what()));
  }
}

// How many layers the network has, by the keys of most families; nothing where it is said otherwise.
std::optional<std::uint64_t> find_num_layers(const std::string& config_json, const std::string& directory) {
  const LayerSettings config(
      "", "config.json",
      config_json.empty() ? LayerSettings::Json() : parse_json(config_json, directory + "/config.json"));
  const auto* const text = config.find("text_config");
  const LayerSettings inner = text != nullptr && text->is_object() ? config.inner("text_config") : config;
  for (const LayerSettings& settings : {inner, config})
    for (const char* const key : {"num_hidden_layers", "num_layers"})
      if (const auto* const count = settings.find(key); count != nullptr && count->is_number_unsigned())
        return count->get<std::uint64_t>();
  return std::nullopt;
}

// The first number of a layer's name; nothing where it has none that is small.
std::optional<std::uint64_t> number_of(std::string_view layer) {
  for (std::size_t begin = 0; begin <= layer.size();) {
    const std::size_t end = std::min(layer.find('.', begin), layer.size());
    std::uint64_t number = 0;
    const auto [stop, error] = std::from_chars(layer.data() + begin, layer.data() + end, number);
    if (error == std::errc() && stop == layer.data() + end) return number;
    begin = end + 1;
  }
  return std::nullopt;
}

// A layer's name without its numbers: what it is in every layer, or of every expert.
std::string kind_of(std::string_view layer) {
  std::string kind;
  for (std::size_t begin = 0; begin <= layer.size();) {
    const std::size_t end = std::min(layer.find('.', begin), layer.size());
    const std::string_view word = layer.substr(begin, end - begin);
    if (word.find_first_not_of("0123456789") != std::string_view::npos) kind.append(word) += '.';
    begin = end + 1;
  }
  return kind;
}

// Layers that hold no codes, where others of their kind do and the settings say that they do. Layers behind the last
// (those that guess further tokens) are plain in released checkpoints that list nothing of them.
void require_codes(const std::vector<StoredTensor>& tensors, const LayerScheme& scheme,
                   const std::set<std::string>& kinds, std::optional<std::uint64_t> num_layers,
                   const std::string& directory) {
  constexpr std::array<std::string_view, 3> kPlain = {"F16", "BF16", "F32"};
  for (const StoredTensor& tensor : tensors) {
    const std::string_view layer = layer_before(tensor, ".weight");
    if (layer.empty() || tensor.shape.size() < 2 || std::ranges::find(kPlain, tensor.type_name) == kPlain.end())
      continue;
    const auto number = number_of(layer);
    if (!number || !num_layers || *number >= *num_layers || !kinds.contains(kind_of(layer))) continue;
    if (said_of(scheme, layer, directory) != LayerScheme::Said::has_codes) continue;
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: layer {}: holds no codes as others of its kind do, although the configuration does "
                            "not list it among those that are not quantized ({})",
                            directory, quote_name(layer), scheme.key_of(layer)));
  }
}

// Modules that have a matrix, in codes or not.
std::vector<std::string> modules_of(const std::vector<StoredTensor>& assembled) {
  std::vector<std::string> modules;
  for (const StoredTensor& tensor : assembled)
    if (const std::string_view module = layer_before(tensor, ".weight"); !module.empty() && tensor.shape.size() > 1)
      modules.emplace_back(module);
  return modules;
}

void assemble(std::vector<StoredTensor>& tensors, const LayerScheme& scheme, std::optional<std::uint64_t> num_layers,
              const std::string& directory, LayerReading& reading) {
  TensorIndex index;
  for (std::size_t i = 0; i < tensors.size(); ++i) index.emplace(tensors[i].name, i);
  std::vector<bool> is_gone(tensors.size(), false);
  std::vector<std::optional<StoredTensor>> weights(tensors.size());
  WidenedLayers widened;
  std::set<std::string> kinds;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (scheme.is_passed_over(tensors[i])) is_gone[i] = true;
    const std::string_view name = scheme.layer_of(tensors[i]);
    if (name.empty()) continue;
    LayerTensors layer(tensors, index, std::string(name), directory);
    if (said_of(scheme, name, directory) == LayerScheme::Said::has_none)
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: holds codes, although the configuration lists it among those that are not quantized "
                              "({})",
                              layer.where(), scheme.key_of(name)));
    auto weight = read_layer(scheme, layer, reading.place);
    if (!weight) continue;
    kinds.insert(kind_of(name));
    for (const std::size_t part : layer.taken()) is_gone[part] = true;
    widened.add(*weight);
    weights[i] = stored_weight(*std::move(weight), tensors[i], layer, tensors);
    if (const auto twin = index.find(weights[i]->name); twin != index.end() && twin->second != i)
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: is stored both as it is and in codes of {}", layer.where(), scheme.program()));
  }
  require_codes(tensors, scheme, kinds, num_layers, directory);
  std::vector<StoredTensor> result;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (weights[i]) result.push_back(*std::move(weights[i]));
    if (!is_gone[i]) result.push_back(std::move(tensors[i]));
  }
  tensors = std::move(result);
  widened.tell(reading.notes);
  for (std::string& note : scheme.idle_notes(modules_of(tensors))) reading.notes.push_back(std::move(note));
}

}  // namespace

std::span<const LayerMethod> layer_methods() { return kMethods; }

LayerReading assemble_quantized_layers(
    std::vector<StoredTensor>& tensors, const std::string& config_json,
    const std::function<std::optional<std::string>(const std::string&)>& read_side_file, const std::string& directory) {
  LayerReading reading;
  const bool any_codes = std::ranges::any_of(tensors, may_hold_codes);
  const auto read_file = [&](const std::string& name) { return any_codes ? read_side_file(name) : std::nullopt; };
  const auto settings = find_layer_settings(config_json, read_file, directory);
  if (!settings) return reading;
  reading.method = settings->method();
  reading.place = settings->place();
  if (!any_codes) return reading;
  const auto method = std::ranges::find(kMethods, settings->method(), &LayerMethod::method);
  if (method == kMethods.end()) return reading;
  std::unique_ptr<LayerScheme> scheme;
  try {
    scheme = method->read(*settings);
  } catch (const Error& error) {
    reading.refusal = error.what();
    return reading;
  }
  reading.notes = scheme->notes();
  reading.activations = scheme->activations();
  assemble(tensors, *scheme, find_num_layers(config_json, directory), directory, reading);
  return reading;
}

}  // namespace nibble
