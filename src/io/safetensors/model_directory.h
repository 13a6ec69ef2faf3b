// SPDX-License-Identifier: Apache-2.0
//
// Which files of a directory hold the model's weights, and where there are none that can be read, what lies there
// instead and what to do. Safe from any thread.
//
//   const WeightFiles files = find_weight_files(directory);
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "io/safetensors/shard_index.h"

namespace nibble {

struct WeightFiles {
  std::vector<std::string> names;  // in the directory, sorted
  std::filesystem::path index_path;
  std::optional<ShardIndex>
      index;  // none: one file, or shards that need no index because their names say that all are there
};

// Errors: not_found (no weights, or not all), corrupt (an index that is none), unusable_input (more than one model).
WeightFiles find_weight_files(const std::filesystem::path& directory);

// The directory that holds a model's files: of a hub cache's folder (models--org--name) the snapshot that its refs/main
// names, without such a file the only one; any other path as it is. Error(not_found) where the snapshot that is named
// is missing, Error(unusable_input) where a cache leaves the choice.
std::filesystem::path resolve_hub_snapshot(const std::filesystem::path& directory);

}  // namespace nibble
