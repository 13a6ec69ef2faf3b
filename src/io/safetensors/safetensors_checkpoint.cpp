// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <unordered_map>
#include <unordered_set>

#include "io/checkpoint_parts.h"
#include "io/json_text.h"
#include "io/layers/layer_assembly.h"
#include "io/message_text.h"
#include "io/onnx/onnx_package.h"
#include "io/safetensors/model_directory.h"
#include "io/safetensors/planar_container.h"
#include "io/safetensors/safetensors_header.h"
#include "io/safetensors/shard_index.h"
#include "io/safetensors/wrapped_names.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::uint64_t kMaxConfig = 16u << 20;

// Raw views are attached later, when it is known which tensors are planes.
void add_file(CheckpointParts& parts, const std::filesystem::path& path) {
  parts.files.push_back(std::make_unique<MappedFile>(path));
  const MappedFile& file = *parts.files.back();
  refuse_foreign_weights(file);
  for (SafetensorsEntry& entry : parse_safetensors(file.bytes(), path.string()).entries) {
    StoredTensor tensor;
    tensor.name = std::move(entry.name);
    tensor.shape = std::move(entry.shape);
    tensor.type_name = entry.type_name;
    if (const auto dtype = parse_dtype(entry.type_name)) tensor.dtype = *dtype;
    tensor.bytes = entry.bytes;
    tensor.file = path.filename().string();
    tensor.offset = entry.offset;
    tensor.data = file.bytes().subspan(static_cast<std::size_t>(entry.offset), static_cast<std::size_t>(entry.bytes));
    parts.tensors.push_back(std::move(tensor));
  }
}

void attach_raw_views(CheckpointParts& parts, const std::filesystem::path& directory) {
  for (StoredTensor& tensor : parts.tensors) {
    const auto dtype = parse_dtype(tensor.type_name);
    if (tensor.values.format() || !dtype) continue;
    const std::string source = (directory / tensor.file).string();
    if (*dtype == DType::f64)
      attach_narrowed_view(parts, tensor, source);
    else
      attach_view(tensor, find_raw_format(*dtype), source);
  }
}

// A tensor that lies in two shards is the one that the index means.
void drop_second_copies(CheckpointParts& parts, const ShardIndex& index, const std::string& source) {
  std::unordered_map<std::string_view, std::size_t> first;
  std::vector<bool> dropped(parts.tensors.size(), false);
  bool any = false;
  for (std::size_t i = 0; i < parts.tensors.size(); ++i) {
    const auto [place, is_new] = first.emplace(parts.tensors[i].name, i);
    if (is_new) continue;
    const StoredTensor &one = parts.tensors[place->second], &other = parts.tensors[i];
    const auto listed = index.weight_map.find(one.name);
    const bool means_one = listed != index.weight_map.end() && listed->second == one.file;
    if (!means_one && (listed == index.weight_map.end() || listed->second != other.file))
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: tensor {} is in two shards, {} and {}, and the index does not say in which", source,
                              quote_name(one.name), quote_name(one.file), quote_name(other.file)));
    dropped[means_one ? i : place->second] = any = true;
    if (!means_one) place->second = i;
  }
  if (!any) return;
  std::vector<StoredTensor> kept;
  for (std::size_t i = 0; i < dropped.size(); ++i)
    if (!dropped[i]) kept.push_back(std::move(parts.tensors[i]));
  parts.tensors = std::move(kept);
}

// What counts is what the shards hold. What only the index lists is remembered for whoever asks for it: nobody may, as
// with the parts of a model that were left out when it was saved.
void add_weights(CheckpointParts& parts) {
  const WeightFiles files = find_weight_files(parts.path);
  for (const std::string& name : files.names) add_file(parts, parts.path / name);
  const ShardIndex no_index;
  drop_second_copies(parts, files.index ? *files.index : no_index,
                     (files.index ? files.index_path : parts.path).string());
  if (!files.index) return;
  std::unordered_set<std::string_view> found;
  for (const StoredTensor& tensor : parts.tensors) found.insert(tensor.name);
  for (const auto& [name, file] : files.index->weight_map)
    if (!found.contains(name)) parts.absent.emplace(name, file);
}

}  // namespace

CheckpointParts read_safetensors_checkpoint(const std::filesystem::path& path) {
  CheckpointParts parts;
  parts.kind = ContainerKind::safetensors;
  parts.path = path;
  add_file(parts, path);
  attach_raw_views(parts, path.parent_path());
  return parts;
}

CheckpointParts read_directory_checkpoint(const std::filesystem::path& given) {
  const std::filesystem::path path = resolve_hub_snapshot(given);
  CheckpointParts parts;
  parts.kind = ContainerKind::huggingface;
  parts.path = path;
  const auto config_path = path / "config.json";
  if (auto text = read_small_file(config_path, kMaxConfig)) {
    if (text->empty()) plain_json(*text, config_path.string());  // no JSON, and not absent
    parts.config_json = std::move(*text);
  }
  if (is_onnx_package(path)) {
    read_onnx_tensors(parts);
    return parts;
  }
  const auto plan = read_container_plan(parts.config_json, config_path.string());
  add_weights(parts);
  if (plan) {
    assemble_planes(parts.tensors, *plan, path.string());
    parts.layer_reading.method = "nibble";
  } else {
    const auto read_settings = [&](const std::string& name) { return read_small_file(path / name, kMaxConfig); };
    parts.layer_reading = assemble_quantized_layers(parts.tensors, parts.config_json, read_settings, path.string());
    unwrap_names(parts.tensors);
  }
  attach_raw_views(parts, path);
  return parts;
}

}  // namespace nibble
