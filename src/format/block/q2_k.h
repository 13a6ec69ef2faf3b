// SPDX-License-Identifier: Apache-2.0
//
// Q2_K of ggml: 16 sub-blocks of 16, 2-bit codes, 4-bit scales and minima in units of two halves.
#pragma once

#include "format/family/k_block.h"

namespace nibble {

struct Q2_KShape {
  static constexpr std::size_t kSubs = 16;
  static constexpr int kMaxCode = 3, kMaxScale = 15, kRounds = 2;
};

struct Q2_K : AffineKBlock<Q2_KShape> {
  static constexpr BlockDescriptor kInfo{
      .name = "q2_k",
      .description = "2-bit integers with two-level scales and minima: small, much is lost",
      .columns = 256,
      .num_codes = 4,
      .ggml_type = 10,
      .ggml_ftype = 10,
      .max_magnitude = 15 * 65504.0,
      .inner = 16};
  struct Block {
    std::uint8_t scales[16];  // low half: scale; high half: minimum
    std::uint8_t qs[64];      // of each 128 columns: column 32 j + l at bits 2 j of byte l
    std::uint16_t d, dmin;
  };
  static_assert(sizeof(Block) == 84);

  // Codes are integers of any type.
  template <class T>
  [[gnu::always_inline]] static void pack(const Grid& grid, const T* codes, Block& block) {
    for (std::size_t s = 0; s < 16; ++s)
      block.scales[s] = static_cast<std::uint8_t>(grid.scales[s] | grid.minima[s] << 4);
    pack_two_bits(codes, block.qs);
    block.d = f32_to_f16(grid.d);
    block.dmin = f32_to_f16(grid.dmin);
  }
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static std::optional<std::string> find_defect(const Block& block) { return find_affine_defect(block); }
};

}  // namespace nibble
