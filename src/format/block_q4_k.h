// SPDX-License-Identifier: Apache-2.0
//
// Q4_K of ggml: 8 sub-blocks of 32, 4-bit codes, 6-bit scales and minima in units of two halves.
#pragma once

#include "format/k_block.h"

namespace nibble {

struct Q4_KShape {
  static constexpr std::size_t kSubs = 8;
  static constexpr int kMaxCode = 15, kMaxScale = 63, kRounds = 2;
};

struct Q4_K : AffineKBlock<Q4_KShape> {
  static constexpr BlockDescriptor kInfo{.name = "q4_k",
                                         .description = "4-bit integers with two-level scales and minima: the usual choice",
                                         .columns = 256,
                                         .num_codes = 16,
                                         .ggml_type = 12,
                                         .ggml_ftype = 14,
                                         .max_magnitude = 63 * 65504.0};
  struct Block {
    std::uint16_t d, dmin;
    std::uint8_t scales[12];
    std::uint8_t qs[128];  // of each 64 columns the first 32 in the low halves
  };
  static_assert(sizeof(Block) == 144);

  static void pack(const Grid& grid, const Code* codes, Block& block);
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static std::optional<std::string> find_defect(const Block& block) { return find_affine_defect(block); }
};

}  // namespace nibble
