// SPDX-License-Identifier: Apache-2.0
//
// Q6_K of ggml: 16 sub-blocks of 16, 6-bit codes, signed 8-bit scales in units of one half.
#pragma once

#include "format/family/k_block.h"

namespace nibble {

struct Q6_KShape {
  static constexpr std::size_t kSubs = 16;
  static constexpr int kLow = -32, kHigh = 31, kMaxScale = 127, kRounds = 1;
  static constexpr float kPeaks[] = {-32, -31.5F, -31, 31};
  static constexpr float kStarts[] = {127};
  [[gnu::always_inline]] static Vector nearest_points(Vector value) { return round_lanes(clamp(value, kLow, kHigh)); }
  [[gnu::always_inline]] static float round(float value) { return to_nearest_even(clamp_to(value, kLow, kHigh)); }
  static constexpr ScaleNeighbour kNeighbours[] = {{1, 0}, {1, 1},  {1, -1}, {1, 2},  {1, -2},
                                                   {1, 3}, {1, -3}, {-1, 0}, {-1, 1}, {-1, -1}};
};

struct Q6_K : SymmetricKBlock<Q6_KShape> {
  static constexpr BlockDescriptor kInfo{.name = "q6_k",
                                         .description = "6-bit integers with two-level scales: next to no loss",
                                         .columns = 256,
                                         .num_codes = 64,
                                         .ggml_type = 14,
                                         .ggml_ftype = 18,
                                         .max_magnitude = 31 * 127 * 65504.0,
                                         .inner = 16};
  struct Block {
    std::uint8_t ql[128];  // low four bits: of each 128 columns, columns 0 .. 63 in the low halves of 64 bytes
    std::uint8_t qh[64];   // high two bits: of each 128 columns, column 32 t + l at bits 2 t of byte l
    std::int8_t scales[16];
    std::uint16_t d;
  };
  static_assert(sizeof(Block) == 210);

  // Codes are integers of any type.
  template <class T>
  [[gnu::always_inline]] static void pack(const Grid& grid, const T* codes, Block& block) {
    T high[256];
    for (std::size_t i = 0; i < 256; ++i) high[i] = static_cast<T>(codes[i] >> 4);
    pack_two_bits(high, block.qh);
    for (std::size_t h = 0; h < 2; ++h)
      for (std::size_t l = 0; l < 64; ++l)
        block.ql[64 * h + l] =
            static_cast<std::uint8_t>((codes[128 * h + l] & 15) | (codes[128 * h + 64 + l] & 15) << 4);
    std::copy(std::begin(grid.scales), std::end(grid.scales), block.scales);
    block.d = f32_to_f16(grid.d);
  }
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static std::optional<std::string> find_defect(const Block& block) { return find_symmetric_defect(block); }
};

}  // namespace nibble
