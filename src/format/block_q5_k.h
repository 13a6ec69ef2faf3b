// SPDX-License-Identifier: Apache-2.0
//
// Q5_K of ggml: Q4_K with a fifth bit per code, kept apart.
#pragma once

#include "format/k_block.h"

namespace nibble {

struct Q5_KShape {
  static constexpr std::size_t kSubs = 8;
  static constexpr int kMaxCode = 31, kMaxScale = 63, kRounds = 2;
};

struct Q5_K : AffineKBlock<Q5_KShape> {
  static constexpr BlockDescriptor kInfo{.name = "q5_k",
                                         .description = "5-bit integers with two-level scales and minima: hardly any loss",
                                         .columns = 256,
                                         .num_codes = 32,
                                         .ggml_type = 13,
                                         .ggml_ftype = 16,
                                         .max_magnitude = 63 * 65504.0};
  struct Block {
    std::uint16_t d, dmin;
    std::uint8_t scales[12];
    std::uint8_t qh[32];   // bit s of byte l: bit 4 of column l of sub-block s
    std::uint8_t qs[128];  // of each 64 columns the first 32 in the low halves
  };
  static_assert(sizeof(Block) == 176);

  static void pack(const Grid& grid, const Code* codes, Block& block);
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static std::optional<std::string> find_defect(const Block& block) { return find_affine_defect(block); }
};

}  // namespace nibble
