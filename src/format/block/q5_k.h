// SPDX-License-Identifier: Apache-2.0
//
// Q5_K of ggml: Q4_K with a fifth bit per code, kept apart.
#pragma once

#include "format/family/k_block.h"

namespace nibble {

struct Q5_KShape {
  static constexpr std::size_t kSubs = 8;
  static constexpr int kMaxCode = 31, kMaxScale = 63, kRounds = 2;
};

struct Q5_K : AffineKBlock<Q5_KShape> {
  static constexpr BlockDescriptor kInfo{
      .name = "q5_k",
      .description = "5-bit integers with two-level scales and minima: hardly any loss",
      .columns = 256,
      .num_codes = 32,
      .ggml_type = 13,
      .ggml_ftype = 16,
      .max_magnitude = 63 * 65504.0,
      .inner = 32};
  struct Block {
    std::uint16_t d, dmin;
    std::uint8_t scales[12];
    std::uint8_t qh[32];   // bit s of byte l: bit 4 of column l of sub-block s
    std::uint8_t qs[128];  // of each 64 columns the first 32 in the low halves
  };
  static_assert(sizeof(Block) == 176);

  // Codes are integers of any type.
  template <class T>
  [[gnu::always_inline]] static void pack(const Grid& grid, const T* codes, Block& block) {
    block.d = f32_to_f16(grid.d);
    block.dmin = f32_to_f16(grid.dmin);
    pack_six_bit_pairs(grid.scales, grid.minima, block.scales);
    for (std::size_t l = 0; l < 32; ++l) {
      unsigned high = 0;
      for (std::size_t s = 0; s < 8; ++s) high |= static_cast<unsigned>(codes[32 * s + l] >> 4) << s;
      block.qh[l] = static_cast<std::uint8_t>(high);
      for (std::size_t c = 0; c < 4; ++c)
        block.qs[32 * c + l] = static_cast<std::uint8_t>((codes[64 * c + l] & 15) | (codes[64 * c + 32 + l] & 15) << 4);
    }
  }
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static std::optional<std::string> find_defect(const Block& block) { return find_affine_defect(block); }
};

}  // namespace nibble
