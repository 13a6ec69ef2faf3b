// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <unordered_set>

#include "base/shard_name.h"
#include "io/checkpoint_parts.h"
#include "io/gguf/gguf_header.h"
#include "io/message_text.h"
#include "nibble/error.h"

namespace nibble {
namespace {

// The path of another part; nullopt when the name is not that of one of so many.
std::optional<std::filesystem::path> split_path(const std::filesystem::path& path, std::uint64_t number,
                                                std::uint64_t count) {
  auto shard = parse_shard_name(path.filename().string());
  if (!shard || shard->count != count || shard->ending != ".gguf") return std::nullopt;
  shard->number = number;
  return path.parent_path() / shard_name(*shard);
}

void add_tensors(CheckpointParts& parts, const MappedFile& file, std::vector<GgufTensorInfo>&& infos) {
  const std::string source = file.path().string();
  for (GgufTensorInfo& info : infos) {
    StoredTensor tensor;
    tensor.name = std::move(info.name);
    tensor.shape = std::move(info.shape);
    tensor.type_name = info.type->name;
    if (const auto dtype = parse_dtype(info.type->name)) tensor.dtype = *dtype;
    tensor.bytes = info.bytes;
    tensor.file = file.path().filename().string();
    tensor.offset = info.offset;
    tensor.data = file.bytes().subspan(static_cast<std::size_t>(info.offset), static_cast<std::size_t>(info.bytes));
    if (tensor.dtype == DType::f64 && tensor.type_name == "F64")
      attach_narrowed_view(parts, tensor, source);
    else
      attach_view(tensor, find_ggml_format(info.type->id), source);
    parts.tensors.push_back(std::move(tensor));
  }
}

std::uint64_t split_key(const GgufMetadata& metadata, std::string_view key) {
  return metadata.unsigned_integer(key).value_or(0);
}

void add_splits(CheckpointParts& parts, std::uint64_t count) {
  const std::string first = parts.path.string();
  if (const auto number = split_key(parts.metadata, "split.no"); number != 0)
    throw Error(ErrorKind::unusable_input,
                fmt::format("{}: part {} of {} of a split file; open the first part", first, number + 1, count));
  if (count > kMostShards)
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: metadata key 'split.count' is more than {}: {}", first, kMostShards, count));
  for (std::uint64_t number = 1; number < count; ++number) {
    const auto path = split_path(parts.path, number + 1, count);
    if (!path)
      throw Error(
          ErrorKind::not_found,
          fmt::format("{}: first of {} parts, but its name does not end in -00001-of-{:05}.gguf; rename the parts back",
                      first, count, count));
    parts.files.push_back(std::make_unique<MappedFile>(*path));
    refuse_foreign_weights(*parts.files.back());
    const std::string source = path->string();
    GgufHeader header = parse_gguf(parts.files.back()->bytes(), source);
    if (split_key(header.metadata, "split.no") != number || split_key(header.metadata, "split.count") != count)
      throw Error(
          ErrorKind::corrupt,
          fmt::format("{}: should be part {} of {} of a split file but says otherwise: split.no {}, split.count {}",
                      source, number + 1, count, split_key(header.metadata, "split.no"),
                      split_key(header.metadata, "split.count")));
    add_tensors(parts, *parts.files.back(), std::move(header.tensors));
  }
  std::unordered_set<std::string_view> names;
  for (const StoredTensor& tensor : parts.tensors)
    if (!names.insert(tensor.name).second)
      throw Error(ErrorKind::corrupt, fmt::format("{}: tensor {} appears in two parts, again in {}", first,
                                                  quote_name(tensor.name), tensor.file));
  if (const auto total = split_key(parts.metadata, "split.tensors.count"); total != 0 && total != parts.tensors.size())
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: the parts should hold {} tensors but hold {}", first, total, parts.tensors.size()));
}

}  // namespace

CheckpointParts read_gguf_checkpoint(const std::filesystem::path& path) {
  CheckpointParts parts;
  parts.kind = ContainerKind::gguf;
  parts.path = path;
  parts.files.push_back(std::make_unique<MappedFile>(path));
  refuse_foreign_weights(*parts.files.back());
  GgufHeader header = parse_gguf(parts.files.back()->bytes(), path.string());
  parts.metadata = std::move(header.metadata);
  add_tensors(parts, *parts.files.back(), std::move(header.tensors));
  if (const auto count = split_key(parts.metadata, "split.count"); count > 1) add_splits(parts, count);
  return parts;
}

}  // namespace nibble
