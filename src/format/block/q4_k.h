// SPDX-License-Identifier: Apache-2.0
//
// Q4_K of ggml: 8 sub-blocks of 32, 4-bit codes, 6-bit scales and minima in units of two halves.
#pragma once

#include "format/family/k_block.h"

namespace nibble {

struct Q4_KShape {
  static constexpr std::size_t kSubs = 8;
  static constexpr int kMaxCode = 15, kMaxScale = 63, kRounds = 2;
};

struct Q4_K : AffineKBlock<Q4_KShape> {
  static constexpr BlockDescriptor kInfo{
      .name = "q4_k",
      .description = "4-bit integers with two-level scales and minima: the usual choice",
      .columns = 256,
      .num_codes = 16,
      .ggml_type = 12,
      .ggml_ftype = 14,
      .max_magnitude = 63 * 65504.0,
      .inner = 32};
  struct Block {
    std::uint16_t d, dmin;
    std::uint8_t scales[12];
    std::uint8_t qs[128];  // of each 64 columns the first 32 in the low halves
  };
  static_assert(sizeof(Block) == 144);

  // Codes are integers of any type.
  template <class T>
  [[gnu::always_inline]] static void pack(const Grid& grid, const T* codes, Block& block) {
    block.d = f32_to_f16(grid.d);
    block.dmin = f32_to_f16(grid.dmin);
    pack_six_bit_pairs(grid.scales, grid.minima, block.scales);
    for (std::size_t c = 0; c < 4; ++c)
      for (std::size_t l = 0; l < 32; ++l)
        block.qs[32 * c + l] = static_cast<std::uint8_t>(codes[64 * c + l] | codes[64 * c + 32 + l] << 4);
  }
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static std::optional<std::string> find_defect(const Block& block) { return find_affine_defect(block); }
};

}  // namespace nibble
