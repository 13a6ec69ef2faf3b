// SPDX-License-Identifier: Apache-2.0
#include "io/safetensors/planar_container.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "format/outlier_format.h"
#include "io/json_text.h"
#include "io/message_text.h"
#include "io/packing/part_planes.h"
#include "nibble/error.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

template <class... Arguments>
[[noreturn]] void corrupt(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
  throw Error(ErrorKind::corrupt, fmt::format(format, std::forward<Arguments>(arguments)...));
}

std::string_view layer_of(std::string_view tensor) {
  constexpr std::string_view kWeight = ".weight";
  return tensor.ends_with(kWeight) ? tensor.substr(0, tensor.size() - kWeight.size()) : tensor;
}

Shape read_shape(const Json& entry, const std::string& where) {
  const auto found = entry.find("shape");
  if (found == entry.end() || !found->is_array() || found->empty() || found->size() > 8)
    corrupt("{}: 'shape' should be a list of 1 to 8 numbers", where);
  Shape shape;
  for (const Json& extent : *found) {
    if (!extent.is_number_unsigned() || extent.get<std::uint64_t>() == 0)
      corrupt("{}: 'shape' should hold positive integers", where);
    shape.push_back(extent.get<std::uint64_t>());
  }
  checked_elements(shape, where);
  return shape;
}

ChannelTransform read_transform(const Json& parts, const char* key, const std::string& where) {
  const auto found = parts.find(key);
  if (found == parts.end()) return {};
  if (!found->is_string()) corrupt("{}: '{}' should be a string", where, key);
  const std::string& name = found->get_ref<const std::string&>();
  const auto size = parse_transform(name);
  if (!size)
    throw Error(ErrorKind::unsupported, fmt::format("{}: '{}' is not known here: {}", where, key, quote_name(name)));
  return {*size, {}};
}

// Everything in "parts" must be known: what is left out would change the weights.
void read_part_list(const Json& entry, const std::string& where, ListedTensor& listed) {
  const auto parts = entry.find("parts");
  if (parts == entry.end()) return;
  if (!parts->is_object()) corrupt("{}: 'parts' should be an object", where);
  for (const auto& [key, value] : parts->items())
    if (key != "planes" && key != "input_transform" && key != "output_transform")
      throw Error(ErrorKind::unsupported,
                  fmt::format("{}: has a part that is not known here: {}", where, quote_name(key)));
  listed.input_transform = read_transform(*parts, "input_transform", where);
  listed.output_transform = read_transform(*parts, "output_transform", where);
  const auto planes = parts->find("planes");
  if (planes == parts->end()) return;
  if (!planes->is_array()) corrupt("{}: 'planes' should be a list of names", where);
  for (const Json& plane : *planes) {
    if (!plane.is_string()) corrupt("{}: 'planes' should be a list of names", where);
    const std::string& name = plane.get_ref<const std::string&>();
    if (std::ranges::find(part_suffixes(), name) == part_suffixes().end())
      throw Error(ErrorKind::unsupported,
                  fmt::format("{}: has a part that is not known here: {}", where, quote_name(name)));
    listed.part_planes.push_back(name);
  }
}

Json part_list(const TensorParts& parts) {
  Json list = Json::object();
  for (const PartPlane& plane : pack_parts(parts)) list["planes"].push_back(plane.suffix);
  if (!parts.input_transform.empty()) list["input_transform"] = parts.input_transform.name();
  if (!parts.output_transform.empty()) list["output_transform"] = parts.output_transform.name();
  return list;
}

ListedTensor read_entry(const std::string& name, const Json& entry, const std::string& source) {
  const std::string where = fmt::format("{}: quantization_config: tensor {}", source, quote_name(name));
  if (!entry.is_object()) corrupt("{}: should be an object with 'format' and 'shape'", where);
  const auto format = entry.find("format");
  if (format == entry.end() || !format->is_string()) corrupt("{}: 'format' should be a string", where);
  ListedTensor listed{{name, read_shape(entry, where), nullptr}, {}, {}, {}};
  try {
    listed.tensor.format = find_format(format->get_ref<const std::string&>());
  } catch (const Error& e) {
    throw Error(ErrorKind::unsupported, fmt::format("{}: {}", where, e.what()));
  }
  read_part_list(entry, where, listed);
  return listed;
}

bool is_container(const Json& config) {
  const auto found = config.find("quantization_config");
  if (found == config.end() || !found->is_object()) return false;
  const auto method = found->find("quant_method");
  return method != found->end() && method->is_string() && method->get_ref<const std::string&>() == "nibble";
}

Json parse_config(const std::string& text, const std::string& source) {
  Json config = parse_json(text, source);
  if (!config.is_object()) corrupt("{}: should be a JSON object", source);
  return config;
}

// "P" of a name "P.SUFFIX" that a plane could bear; nullopt for other names.
std::optional<std::string_view> layer_of_plane(std::string_view name) {
  constexpr std::array<std::string_view, 11> kSuffixes = {".codes",    ".scales", ".zeros",  ".biases",
                                                          ".table",    ".base",   ".nested", ".offset",
                                                          ".outliers", ".values", ".kept"};
  for (const std::string_view suffix : kSuffixes)
    if (name.ends_with(suffix)) return name.substr(0, name.size() - suffix.size());
  for (const std::string_view suffix : part_suffixes())
    if (name.ends_with(suffix) && name.size() > suffix.size() && name[name.size() - suffix.size() - 1] == '.')
      return name.substr(0, name.size() - suffix.size() - 1);
  return std::nullopt;
}

}  // namespace

std::string plane_name(std::string_view tensor, std::string_view suffix) {
  return suffix.empty() ? std::string(tensor) : fmt::format("{}.{}", layer_of(tensor), suffix);
}

std::optional<std::vector<ListedTensor>> read_container_plan(const std::string& config_json,
                                                             const std::string& source) {
  if (config_json.empty()) return std::nullopt;
  const Json config = parse_config(config_json, source);
  if (!is_container(config)) return std::nullopt;
  const Json& container = config["quantization_config"];
  const auto version = container.find("version");
  if (version == container.end() || !version->is_number_unsigned())
    corrupt("{}: quantization_config: 'version' should be a number", source);
  if (*version != kContainerVersion && *version != kContainerVersionPlain)
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: quantization_config: version is not {} or {}; a newer nibble wrote it: {}", source,
                            kContainerVersionPlain, kContainerVersion, version->get<std::uint64_t>()));
  const auto tensors = container.find("tensors");
  if (tensors == container.end() || !tensors->is_object())
    corrupt("{}: quantization_config: 'tensors' should be an object", source);
  std::vector<ListedTensor> plan;
  for (const auto& [name, entry] : tensors->items()) plan.push_back(read_entry(name, entry, source));
  return plan;
}

std::string write_container_plan(const std::string& config_json, const std::vector<PlannedTensor>& plan,
                                 const std::string& source) {
  Json config = config_json.empty() ? Json::object() : parse_config(config_json, source);
  Json tensors = Json::object();
  bool has_parts = false;
  for (const PlannedTensor& planned : plan) {
    if (planned.format->info().kind == FormatKind::raw) continue;
    tensors[planned.name] = {{"format", planned.format->name()}, {"shape", planned.shape}};
    if (!planned.parts || parts_of(*planned.parts).empty()) continue;
    tensors[planned.name]["parts"] = part_list(*planned.parts);
    has_parts = true;
  }
  if (tensors.empty()) {
    if (!is_container(config)) return config_json;
    config.erase("quantization_config");
  } else {
    if (!is_container(config)) config["quantization_config"] = Json::object();
    Json& container = config["quantization_config"];
    container["quant_method"] = "nibble";
    container["version"] = has_parts ? kContainerVersion : kContainerVersionPlain;
    container["tensors"] = std::move(tensors);
  }
  return dump_json(config, 2) + "\n";
}

namespace {

// Builds one tensor from its planes; marks them as taken.
class Assembler {
 public:
  Assembler(std::vector<StoredTensor>& tensors, const std::string& directory)
      : tensors_(tensors), directory_(directory), taken_(tensors.size(), false) {
    for (std::size_t i = 0; i < tensors.size(); ++i) by_name_.emplace(tensors[i].name, i);
  }

  // The tensor goes where the first of its planes was.
  void assemble(const ListedTensor& listed) {
    const PlannedTensor& planned = listed.tensor;
    const std::string where =
        fmt::format("{}: tensor {} ({})", directory_, quote_name(planned.name), planned.format->name());
    layers_.insert(std::string(layer_of(planned.name)));
    const MatrixSize size = matrix_size(planned.shape);
    StoredTensor result;
    result.name = planned.name;
    result.shape = planned.shape;
    result.type_name = planned.format->name();
    std::vector<PlaneSpec> specs;
    try {
      specs = planned.format->planes(size.rows, size.cols);
    } catch (const Error& e) {
      corrupt("{}: {}", where, e.what());
    }
    std::vector<std::span<const std::byte>> planes;
    std::size_t first = tensors_.size();
    for (const PlaneSpec& spec : specs) {
      const std::size_t index = take(plane_name(planned.name, spec.suffix), spec, where);
      const StoredTensor& plane = tensors_[index];
      if (planes.empty()) {
        result.file = plane.file;
        result.offset = plane.offset;
        result.dtype = plane.dtype;
      }
      first = std::min(first, index);
      result.bytes += plane.data.size();
      planes.push_back(plane.data);
    }
    if (planes.size() == 1) result.data = planes[0];
    QuantizedView view = make_view(planned.format, size.rows, size.cols, std::move(planes), where);
    if (const OutlierFormat* const format = find_outlier_format(*planned.format))
      if (const auto defect = format->find_tail_defect(format->tile(view.row(size.rows - 1)), size.rows, size.cols))
        corrupt("{}: {}", where, *defect);
    view.parts = read_parts(listed, size, where, result.bytes);
    result.values = std::move(view);
    assembled_.emplace(first, std::move(result));
  }

  void finish() {
    std::unordered_set<std::string> names;
    std::vector<StoredTensor> out;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      if (auto found = assembled_.find(i); found != assembled_.end()) out.push_back(std::move(found->second));
      if (taken_[i]) continue;
      if (is_stray_plane(tensors_[i].name))
        corrupt("{}: tensor {} looks like a plane of a quantized tensor, but config.json lists none that has it",
                directory_, quote_name(tensors_[i].name));
      out.push_back(std::move(tensors_[i]));
    }
    for (const StoredTensor& tensor : out)
      if (!names.insert(tensor.name).second)
        corrupt("{}: tensor {} is stored both as it is and in planes", directory_, quote_name(tensor.name));
    tensors_ = std::move(out);
  }

 private:
  // Null: none. bytes: those of the planes are added.
  std::shared_ptr<const TensorParts> read_parts(const ListedTensor& listed, const MatrixSize& size,
                                                const std::string& where, std::uint64_t& bytes) {
    if (listed.part_planes.empty() && listed.input_transform.empty() && listed.output_transform.empty()) return nullptr;
    auto parts = std::make_shared<TensorParts>();
    parts->input_transform = listed.input_transform;
    parts->output_transform = listed.output_transform;
    for (const std::string& suffix : listed.part_planes) {
      const std::string name = plane_name(listed.tensor.name, suffix);
      const StoredTensor& plane = tensors_[take(name, where)];
      const auto dtype = parse_dtype(plane.type_name);
      const std::string why = dtype ? unpack_part(suffix, {*dtype, plane.shape, plane.data}, *parts)
                                    : fmt::format("has a type that is not known here, {}", plane.type_name);
      if (!why.empty()) corrupt("{}: plane {} in {} {}", where, quote_name(name), plane.file, why);
      bytes += plane.data.size();
    }
    if (const auto defect = find_parts_defect(*parts, size.rows, size.cols)) corrupt("{}: {}", where, *defect);
    return parts;
  }

  std::size_t take(const std::string& name, const std::string& where) {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) corrupt("{}: plane {} is missing", where, quote_name(name));
    if (taken_[found->second]) corrupt("{}: plane {} belongs to two tensors", where, quote_name(name));
    taken_[found->second] = true;
    return found->second;
  }

  std::size_t take(const std::string& name, const PlaneSpec& spec, const std::string& where) {
    const std::size_t index = take(name, where);
    const StoredTensor& plane = tensors_[index];
    if (plane.type_name != dtype_name(spec.dtype) || plane.shape != spec.shape)
      corrupt("{}: plane {} in {} should be {} {} but is {} {}", where, quote_name(name), plane.file,
              dtype_name(spec.dtype), shape_text(spec.shape), plane.type_name, shape_text(plane.shape));
    return index;
  }

  // Beside the codes of a tensor, or of one that config.json lists, nothing else bears such a name.
  bool is_stray_plane(std::string_view name) const {
    const auto layer = layer_of_plane(name);
    return layer && (layers_.contains(std::string(*layer)) || by_name_.contains(fmt::format("{}.codes", *layer)));
  }

  std::vector<StoredTensor>& tensors_;
  const std::string& directory_;
  std::vector<bool> taken_;
  std::unordered_map<std::string, std::size_t> by_name_;
  std::unordered_set<std::string> layers_;                   // of the tensors that config.json lists
  std::unordered_map<std::size_t, StoredTensor> assembled_;  // by the index of their first plane
};

}  // namespace

void assemble_planes(std::vector<StoredTensor>& tensors, const std::vector<ListedTensor>& plan,
                     const std::string& directory) {
  Assembler assembler(tensors, directory);
  for (const ListedTensor& listed : plan) assembler.assemble(listed);
  assembler.finish();
}

}  // namespace nibble
