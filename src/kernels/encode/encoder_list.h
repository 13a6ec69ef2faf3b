// SPDX-License-Identifier: Apache-2.0
//
// What each instruction set has in place of the formats' own row loops: plain functions, compiled from the same
// templates as the reference (format/lanes.h), so that they give the same bits. Functions neither throw, allocate nor
// print.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "base/cpu.h"
#include "format/format.h"
#include "format/span_loops.h"
#include "format/trellis/path_steps.h"

namespace nibble {

// One block format. Null: as the format does it. Any rule but percentile and entropy, which clip first; importance:
// null or one non-negative weight per value.
struct BlockTwin {
  std::string_view name;
  std::size_t columns;  // of a block
  // count blocks, one after the other.
  void (*encode)(const float* x, const float* importance, const FitOptions& options, std::size_t count,
                 std::byte* blocks) = nullptr;
  // The grid of one block, in the format's own form.
  void (*fit)(const float* x, const float* importance, const FitOptions& options, std::byte* grid) = nullptr;
  void (*decode)(const std::byte* blocks, std::size_t count, float* out) = nullptr;
  // encode rounds as the reference does; where wants_search() (format/family/legacy_block.h) the format itself is
  // asked.
  bool is_plain = false;
};

// All of a set's.
struct Encoders {
  std::span<const BlockTwin> block_twins;
  const SpanLoops& span_loops;
  const PathSteps& path_steps;
};

// The processor must have the set. Of sets that are no wider than what the reference is compiled for: the reference's.
Encoders encoders(Isa isa);

namespace avx2 {
std::span<const BlockTwin> block_twins();
const SpanLoops& span_loops();
const PathSteps& path_steps();
}  // namespace avx2
namespace avx512 {
std::span<const BlockTwin> block_twins();
const SpanLoops& span_loops();
const PathSteps& path_steps();
}  // namespace avx512

}  // namespace nibble
