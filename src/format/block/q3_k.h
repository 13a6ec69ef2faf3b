// SPDX-License-Identifier: Apache-2.0
//
// Q3_K of ggml: 16 sub-blocks of 16, 3-bit codes, signed 6-bit scales in units of one half.
#pragma once

#include "format/family/k_block.h"

namespace nibble {

struct Q3_KShape {
  static constexpr std::size_t kSubs = 16;
  static constexpr int kLow = -4, kHigh = 3, kMaxScale = 31, kRounds = 1;
  static constexpr float kPeaks[] = {-5, -4.6F, -4.2F, -3.8F, -3.4F, -3, 4, 3.6F, 3.2F, 2.8F, 2.4F, 2};
  static constexpr float kStarts[] = {31, 28, 40};
  [[gnu::always_inline]] static Vector nearest_points(Vector value) { return round_lanes(clamp(value, kLow, kHigh)); }
  [[gnu::always_inline]] static float round(float value) { return to_nearest_even(clamp_to(value, kLow, kHigh)); }
  static constexpr ScaleNeighbour kNeighbours[] = {{1, 0},  {1, 1},  {1, -1}, {1, 2},
                                                   {1, -2}, {-1, 0}, {-1, 1}, {-1, -1}};
};

struct Q3_K : SymmetricKBlock<Q3_KShape> {
  static constexpr BlockDescriptor kInfo{.name = "q3_k",
                                         .description = "3-bit integers with two-level scales",
                                         .columns = 256,
                                         .num_codes = 8,
                                         .ggml_type = 11,
                                         .ggml_ftype = 11,
                                         .max_magnitude = 3 * 31 * 65504.0,
                                         .inner = 16};
  struct Block {
    std::uint8_t hmask[32];  // bit s of byte l: bit 2 of the code of column 32 s + l
    std::uint8_t qs[64];     // of each 128 columns: column 32 j + l at bits 2 j of byte l
    std::uint8_t
        scales[12];  // plus 32; low four bits of scale s and s + 8 in byte s, high two bits in the last four bytes
    std::uint16_t d;
  };
  static_assert(sizeof(Block) == 110);

  // Codes are integers of any type.
  template <class T>
  [[gnu::always_inline]] static void pack(const Grid& grid, const T* codes, Block& block) {
    pack_two_bits(codes, block.qs);
    for (std::size_t l = 0; l < 32; ++l) {
      unsigned high = 0;
      for (std::size_t s = 0; s < 8; ++s) high |= static_cast<unsigned>(codes[32 * s + l] >> 2) << s;
      block.hmask[l] = static_cast<std::uint8_t>(high);
    }
    for (std::uint8_t& byte : block.scales) byte = 0;
    for (std::size_t s = 0; s < 16; ++s) {
      const int stored = grid.scales[s] + 32;
      block.scales[s % 8] = static_cast<std::uint8_t>(block.scales[s % 8] | (stored & 15) << (s / 8 * 4));
      block.scales[8 + s % 4] = static_cast<std::uint8_t>(block.scales[8 + s % 4] | (stored >> 4) << (s / 4 * 2));
    }
    block.d = f32_to_f16(grid.d);
  }
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static std::optional<std::string> find_defect(const Block& block) { return find_symmetric_defect(block); }
};

}  // namespace nibble
