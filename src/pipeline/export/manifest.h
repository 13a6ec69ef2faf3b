// SPDX-License-Identifier: Apache-2.0
//
// What an output says of how it was made. Internal to pipeline/.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/quantize/quantize_plan.h"

namespace nibble {

inline constexpr const char* kManifestKey = "nibble.manifest";        // a string in GGUF files
inline constexpr const char* kManifestFile = "nibble_manifest.json";  // in directories

// JSON: version, hash of the inputs, recipe, method and fit. No time, host, path or number of threads: the same inputs
// give the same text.
// "original": of a source whose numbers are kept, what it says of itself.
std::string make_manifest(const SourceModel& source, const QuantizePlan& plan, const QuantizeModelOptions& options,
                          const std::string& source_hash);

// Adds to a directory's manifest the size and the hash of each of its weight files, as `xxhsum -H3` prints it. Nothing
// for a GGUF file, which cannot say its own.
void add_file_hashes(const std::filesystem::path& output);

// The weight files that are not what the manifest says that nibble wrote, each with what differs. None without such a
// record: of another writer's directory, a GGUF file, a manifest that is no JSON.
struct ChangedFile {
  std::string name, what;
};
std::vector<ChangedFile> find_changed_files(const Checkpoint& checkpoint);

// Whether a file of this name holds weights.
bool is_weight_file(const std::string& name);

// What an output of nibble says; nothing where it is none.
std::optional<std::string> manifest_of(const Checkpoint& checkpoint);

}  // namespace nibble
