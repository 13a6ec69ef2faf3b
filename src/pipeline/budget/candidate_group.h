// SPDX-License-Identifier: Apache-2.0
//
// Candidates that are in memory together and read side by side with their original; where the loss is split, each a
// second time with nothing but its weights rounded. Not for several threads at once.
//
//   CandidateGroup group(original, splits_loss(original, 32, false));
//   group.add(checkpoint, options, machine);
//   group.read(pass, 0, {}, pool);
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/decoder.h"
#include "evaluate/side_by_side.h"
#include "kernels/machine.h"
#include "model/source_model.h"

namespace nibble {

// Whether losses against this original can be split: windows are to be read for it, and the original's own arithmetic
// does not round. Error(invalid_argument) when they must be split and cannot.
bool splits_loss(const Decoder& original, std::size_t windows, bool required);

class CandidateGroup {
 public:
  CandidateGroup(Decoder& original, bool split) : original_(original), split_(split) {}

  // The candidate as it is run. Its checkpoint may be destroyed afterwards.
  Decoder& add(const SourceModel& checkpoint, const DecoderOptions& options, Machine& machine);
  // All of them, as candidates first, first + 1, ... of the pass. options.weights_alone is the group's to fill in.
  void read(SideBySide& pass, std::size_t first, EvaluateOptions options, ThreadPool& pool);

  std::size_t size() const { return as_run_.size(); }
  std::uint64_t resident_bytes(std::size_t context) const;  // weights, and caches of that length
  void clear();

 private:
  Decoder& original_;
  bool split_;
  std::vector<Decoder> as_run_;
  std::vector<std::optional<Decoder>> weights_alone_;  // none: nothing but the weights is rounded as it is run
};

}  // namespace nibble
