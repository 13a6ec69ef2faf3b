// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <set>
#include <unordered_set>

#include "io/checkpoint_parts.h"
#include "io/message_text.h"
#include "io/safetensors/planar_container.h"
#include "io/safetensors/safetensors_header.h"
#include "io/safetensors/shard_index.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::uint64_t kMaxConfig = 16u << 20;
constexpr std::uint64_t kMaxIndex = 256u << 20;

// Raw views are attached later, when it is known which tensors are planes.
void add_file(CheckpointParts& parts, const std::filesystem::path& path) {
  parts.files.push_back(std::make_unique<MappedFile>(path));
  const MappedFile& file = *parts.files.back();
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
  for (StoredTensor& tensor : parts.tensors)
    if (!tensor.view.format)
      if (const auto dtype = parse_dtype(tensor.type_name)) attach_view(tensor, find_raw_format(*dtype), (directory / tensor.file).string());
}

// What to do with a directory that has no safetensors, where that is plain to see.
std::string hint(const std::filesystem::path& directory) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(directory, ignored)) {
    if (entry.path().extension() == ".gguf") return "; give the path of the GGUF file in it";
    if (entry.path().extension() == ".bin") return "; save its PyTorch weights as safetensors first";
  }
  return "";
}

// The index and the shards must name the same tensors, each in the same file.
void add_shards(CheckpointParts& parts, const std::filesystem::path& index_path) {
  const std::string source = index_path.string();
  const auto text = read_small_file(index_path, kMaxIndex);
  const ShardIndex index = parse_shard_index(text.value_or(""), source);
  std::set<std::string> shards;
  for (const auto& [name, file] : index.weight_map) shards.insert(file);
  for (const std::string& shard : shards) {
    const auto path = parts.path / shard;
    if (!is_there(path)) throw Error(ErrorKind::not_found, fmt::format("{}: shard {} is missing", source, quote_name(shard)));
    add_file(parts, path);
  }
  std::unordered_set<std::string_view> found;
  for (const StoredTensor& tensor : parts.tensors) {
    const auto listed = index.weight_map.find(tensor.name);
    if (listed == index.weight_map.end())
      throw Error(ErrorKind::corrupt, fmt::format("{}: tensor {} of shard {} is not in the index", source, quote_name(tensor.name), quote_name(tensor.file)));
    if (listed->second == tensor.file) found.insert(tensor.name);
    else
      throw Error(ErrorKind::corrupt, fmt::format("{}: tensor {} should be in shard {} but is in {}", source, quote_name(tensor.name), quote_name(listed->second),
                                                  quote_name(tensor.file)));
  }
  for (const auto& [name, file] : index.weight_map)
    if (!found.contains(name)) throw Error(ErrorKind::not_found, fmt::format("{}: tensor {} is not in shard {}", source, quote_name(name), quote_name(file)));
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

CheckpointParts read_directory_checkpoint(const std::filesystem::path& path) {
  CheckpointParts parts;
  parts.kind = ContainerKind::huggingface;
  parts.path = path;
  const auto config_path = path / "config.json";
  parts.config_json = read_small_file(config_path, kMaxConfig).value_or("");
  const auto plan = read_container_plan(parts.config_json, config_path.string());
  if (is_there(path / "model.safetensors")) add_file(parts, path / "model.safetensors");
  else if (is_there(path / "model.safetensors.index.json")) add_shards(parts, path / "model.safetensors.index.json");
  else
    throw Error(ErrorKind::not_found, fmt::format("{}: directory holds neither model.safetensors nor model.safetensors.index.json{}", path.string(), hint(path)));
  if (plan) assemble_planes(parts.tensors, *plan, path.string());
  attach_raw_views(parts, path);
  return parts;
}

}  // namespace nibble
