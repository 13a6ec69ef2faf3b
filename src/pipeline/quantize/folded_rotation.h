// SPDX-License-Identifier: Apache-2.0
//
// Rotations that go into a model's weights for good, where its drawing proves that it computes the same (R1 and R2 of
// QuaRot and SpinQuant): the stream between the layers, with the norms' weights in the matrices behind them, and the
// values that attention adds up. The result is a model like any other: any container holds it. Internal to pipeline/.
//
//   const FoldedRotation rotation = fold_rotations(source.parts());
//   write_rotated_model(source, rotation, "rotated", machine, progress);   // in f32
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "format/tensor_parts.h"
#include "kernels/machine.h"
#include "model/source_model.h"
#include "nibble/progress.h"

namespace nibble {

struct FoldedRotation {
  struct Change {
    std::string gains;               // a norm whose weights the columns take, before they are rotated; empty: none
    ChannelTransform columns, rows;  // a vector's numbers are rows
    bool becomes_ones = false;       // a norm whose weights went into what reads it
  };
  std::map<std::pair<std::int64_t, std::string>, Change> changes;  // by layer (-1: of the whole model) and part
  // Why the stream stays as it is, or nothing is said of values; empty: both are rotated everywhere.
  std::string stream_obstacle, values_note;

  bool is_empty() const { return changes.empty(); }
  // Whether the part's inputs are rotated already.
  bool rotates_inputs(const std::string& part, std::int64_t layer) const;
};

// In what the rotated model has a tensor of the source.
FormatPtr rotated_format(const StoredTensor& stored, TensorRole role);

// The head of a tied model is called "head", which it has then.
FoldedRotation fold_rotations(const ModelTensors& tensors, bool is_tied);

// Error(resource) where a matrix, which is rotated whole and in f32, does not fit in `available` bytes; names it.
void require_rotation_memory(const SourceModel& source, std::uint64_t available);

// Writes a Hugging Face directory: what changed in f32, looked-up rows and the head in 16 bits where the source has
// them so. A tied head whose stream is rotated becomes a matrix of its own, for it takes the last norm's weights and
// the embedding does not.
void write_rotated_model(const SourceModel& source, const FoldedRotation& rotation,
                         const std::filesystem::path& directory, Machine& machine, const ProgressCallback& progress);

}  // namespace nibble
