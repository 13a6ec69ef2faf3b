// SPDX-License-Identifier: Apache-2.0
//
// What every container is read into. One function a container; Checkpoint holds the result. Safe from any thread.
#pragma once

#include <filesystem>
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
  std::string config_json;
  GgufMetadata metadata;
};

CheckpointParts read_gguf_checkpoint(const std::filesystem::path& path);         // a file, or the first of a split
CheckpointParts read_safetensors_checkpoint(const std::filesystem::path& path);  // one file
CheckpointParts read_directory_checkpoint(const std::filesystem::path& path);    // Hugging Face, plain or planar

// Reads tensor.data as a matrix of `format` (null: leaves the view empty, as for tensors without elements). source: for messages.
void attach_view(StoredTensor& tensor, const FormatPtr& format, const std::string& source);

// The whole of a small file, at most `limit` bytes; nullopt when it is not there.
std::optional<std::string> read_small_file(const std::filesystem::path& path, std::uint64_t limit);

// Whether something is at `path`; false, too, where the system will not say (names too long, closed directories).
bool is_there(const std::filesystem::path& path) noexcept;

// "model.safetensors", never "../x" or "/x": a name that stays in its directory.
bool is_plain_file_name(std::string_view name);

}  // namespace nibble
