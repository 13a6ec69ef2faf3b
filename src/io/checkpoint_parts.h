// SPDX-License-Identifier: Apache-2.0
//
// What every container is read into. One function a container; Checkpoint holds the result. Safe from any thread.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "io/checkpoint.h"

namespace nibble {

struct CheckpointParts {
  ContainerKind kind = ContainerKind::huggingface;
  std::filesystem::path path;
  std::vector<std::unique_ptr<MappedFile>> files;
  std::vector<StoredTensor> tensors;
  std::vector<std::unique_ptr<std::vector<float>>> narrowed;  // of tensors in F64, which are read in f32
  std::map<std::string, std::string, std::less<>>
      absent;  // tensors that an index lists and its shard does not have -> the shard
  LayerReading layer_reading;
  std::string config_json;
  GgufMetadata metadata;
};

CheckpointParts read_gguf_checkpoint(const std::filesystem::path& path);         // a file, or the first of a split
CheckpointParts read_safetensors_checkpoint(const std::filesystem::path& path);  // one file
CheckpointParts read_directory_checkpoint(const std::filesystem::path& path);    // Hugging Face, plain or planar

// Reads tensor.data as a matrix of `format` (null: leaves the view empty, as for tensors without elements). source: for
// messages.
void attach_view(StoredTensor& tensor, const FormatPtr& format, const std::string& source);

// The view of a tensor in F64: its values in f32, kept in parts.narrowed.
void attach_narrowed_view(CheckpointParts& parts, StoredTensor& tensor, const std::string& source);

// Error(corrupt) where the begin of a file shows that it is something other than weights.
void refuse_foreign_weights(const MappedFile& file);

// The whole of a small file, at most `limit` bytes; nullopt when it is not there.
std::optional<std::string> read_small_file(const std::filesystem::path& path, std::uint64_t limit);

// One of the small files beside weights; nullopt when it is not there. Error(corrupt): it is something else than text.
std::optional<std::string> read_side_file(const std::filesystem::path& directory, std::string_view file_name);

// Whether something is at `path`; false, too, where the system will not say (names too long, closed directories).
bool is_there(const std::filesystem::path& path) noexcept;

// "model.safetensors", never "../x" or "/x": a name that stays in its directory.
bool is_plain_file_name(std::string_view name);

}  // namespace nibble
