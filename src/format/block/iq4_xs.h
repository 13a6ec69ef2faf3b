// SPDX-License-Identifier: Apache-2.0
//
// IQ4_XS of ggml: 8 sub-blocks of 32, 4-bit codes into a table of 16 unevenly spaced points, signed 6-bit scales in
// units of one half.
#pragma once

#include "format/family/k_block.h"
#include "format/family/nibble_block.h"

namespace nibble {

struct IQ4_XSShape {
  static constexpr std::size_t kSubs = 8;
  static constexpr float kPoints[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
  static constexpr int kLow = -127, kMaxScale = 31, kRounds = 1;
  static constexpr float kPeaks[] = {-133, -127, -121, -115, -109, 117, 111, 105, 99};
  static constexpr float kStarts[] = {31};
  static constexpr ScaleNeighbour kNeighbours[] = {{1, 0},  {1, 1},  {1, -1}, {1, 2},
                                                   {1, -2}, {-1, 0}, {-1, 1}, {-1, -1}};

  [[gnu::always_inline]] static constexpr float boundary(std::size_t code) {
    return (kPoints[code] + kPoints[code + 1]) / 2;
  }

  // The nearest point, the lower one when halfway.
  [[gnu::always_inline]] static Vector nearest_points(Vector value) {
    Vector point = splat(kPoints[0]);
    for (std::size_t code = 0; code < 15; ++code) point = value > boundary(code) ? splat(kPoints[code + 1]) : point;
    return point;
  }
  [[gnu::always_inline]] static float round(float value) {
    float point = kPoints[0];
    for (std::size_t code = 0; code < 15; ++code) point = value > boundary(code) ? kPoints[code + 1] : point;
    return point;
  }
};

struct IQ4_XS {
  static constexpr BlockDescriptor kInfo{
      .name = "iq4_xs",
      .description = "4-bit table of uneven points with two-level scales: q4_k's quality in less space",
      .columns = 256,
      .num_codes = 16,
      .ggml_type = 23,
      .ggml_ftype = 30,
      .max_magnitude = 113 * 31 * 65504.0,
      .inner = 32};
  struct Block {
    std::uint16_t d;
    std::uint16_t scales_h;    // high two bits of scale s at bits 2 s; scales are stored plus 32
    std::uint8_t scales_l[4];  // low four bits, two to a byte
    std::uint8_t qs[128];      // of each 32 columns the first 16 in the low halves
  };
  static_assert(sizeof(Block) == 136);
  using Grid = SubScaledSymmetricGrid<8>;

  static void fit(const float* x, const float* importance, const FitOptions& options, Grid& grid);
  static Code nearest(const Grid& grid, std::size_t column, const float* target, const float* metric);
  static void value(const Grid& grid, std::size_t column, Code code, float* out) {
    *out = grid.step[column / 32] * IQ4_XSShape::kPoints[code];
  }
  static std::vector<GridPart> grid_parts(const Grid& grid, std::size_t column) {
    return SymmetricKBlock<IQ4_XSShape>::grid_parts(grid, column);
  }
  // Codes are integers of any type.
  template <class T>
  [[gnu::always_inline]] static void pack(const Grid& grid, const T* codes, Block& block) {
    block = {};
    block.d = f32_to_f16(grid.d);
    for (std::size_t s = 0; s < 8; ++s) {
      const int stored = grid.scales[s] + 32;
      block.scales_l[s / 2] = static_cast<std::uint8_t>(block.scales_l[s / 2] | (stored & 15) << (s % 2 * 4));
      block.scales_h = static_cast<std::uint16_t>(block.scales_h | (stored >> 4) << (2 * s));
      pack_nibbles(codes + 32 * s, block.qs + 16 * s);
    }
  }
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static std::optional<std::string> find_defect(const Block& block) {
    return SymmetricKBlock<IQ4_XSShape>::find_symmetric_defect(block);
  }
};

}  // namespace nibble
