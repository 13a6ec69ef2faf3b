// SPDX-License-Identifier: Apache-2.0
//
// What goes into an output beside its tensors: GGUF metadata or the small files of a directory, and the manifest.
#pragma once

#include <string>
#include <vector>

#include "io/checkpoint_writer.h"
#include "model/stored_activations.h"
#include "pipeline/quantize_plan.h"

namespace nibble {

inline constexpr const char* kManifestKey = "nibble.manifest";        // a string in GGUF files
inline constexpr const char* kManifestFile = "nibble_manifest.json";  // in directories

// JSON: version, hash of the inputs, recipe, method and fit. No time, host, path or number of threads: the same inputs give the same text.
std::string make_manifest(const QuantizePlan& plan, const QuantizeModelOptions& options, const std::string& source_hash);

// What the tokenizer of a directory loses in a GGUF file: notes, or with `strict` Error(unsupported). Nothing for other ways.
void note_tokenizer_losses(const SourceModel& source, bool strict, QuantizePlan& plan);

// A GGUF source keeps its keys; a directory's configuration and tokenizer are translated. A model without a tokenizer gets
// tokenizer.ggml.model = "none".
GgufMetadata make_gguf_metadata(const SourceModel& source, const QuantizePlan& plan, const StoredActivations& activations,
                                const std::string& manifest);

// A directory keeps its small files; a GGUF source's keys become config.json and tokenizer files.
std::vector<SideFile> make_side_files(const SourceModel& source, const QuantizePlan& plan, const StoredActivations& activations,
                                      const std::string& manifest);

}  // namespace nibble
