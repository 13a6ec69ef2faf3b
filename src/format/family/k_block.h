// SPDX-License-Identifier: Apache-2.0
//
// What the K types of ggml have in common: super-blocks of 256 whose sub-blocks of 16 or 32 carry small integer scales
// in units of one half. A type adds its descriptor, its bytes, and pack and unpack.
//
// FitRule::automatic is FitRule::search: least squares over ranges and neighbouring integers (sub_block_affine.h,
// sub_block_symmetric.h). FitRule::absmax and minmax store each sub-block's range as it is. The other rules search too.
#pragma once

#include "format/block_format.h"
#include "format/family/sub_block_affine.h"
#include "format/family/sub_block_symmetric.h"

namespace nibble {

inline bool keeps_whole_range(const FitOptions& options) {
  return options.rule == FitRule::absmax || options.rule == FitRule::minmax;
}

// value = d * scale[s] * code - dmin * minimum[s]
template <class Shape>
struct AffineKBlock {
  using Grid = SubScaledAffineGrid<Shape::kSubs>;
  static constexpr std::size_t kSubLength = kSuperBlock / Shape::kSubs;

  static void fit(const float* x, const float* importance, const FitOptions& options, Grid& grid) {
    AffineSearch<Shape> search(x, importance);
    grid = keeps_whole_range(options) ? search.whole_ranges() : search.run();
  }

  static Code nearest(const Grid& grid, std::size_t column, const float* target, const float*) {
    const std::size_t s = column / kSubLength;
    return static_cast<Code>(
        to_nearest_even(clamp_to((*target + grid.offset[s]) * grid.inverse[s], 0, Shape::kMaxCode)));
  }

  static void value(const Grid& grid, std::size_t column, Code code, float* out) {
    const std::size_t s = column / kSubLength;
    *out = grid.step[s] * static_cast<float>(code) - grid.offset[s];
  }

  static std::vector<GridPart> grid_parts(const Grid& grid, std::size_t column) {
    const std::size_t s = column / kSubLength;
    return {{"scale d of the block", static_cast<double>(grid.d)},
            {"scale of the minima dmin", static_cast<double>(grid.dmin)},
            {"integer of the sub-block", static_cast<double>(grid.scales[s])},
            {"integer of its minimum", static_cast<double>(grid.minima[s])},
            {"step = d * integer", static_cast<double>(grid.step[s])},
            {"minimum = -dmin * integer", -static_cast<double>(grid.offset[s])}};
  }

  template <class Block>
  static std::optional<std::string> find_affine_defect(const Block& block) {
    if (!f16_is_finite(block.d)) return "the scale is not finite";
    if (!f16_is_finite(block.dmin)) return "the scale of the minima is not finite";
    return std::nullopt;
  }
};

// value = d * scale[s] * (code + kLow)
template <class Shape>
struct SymmetricKBlock {
  using Grid = SubScaledSymmetricGrid<Shape::kSubs>;
  static constexpr std::size_t kSubLength = kSuperBlock / Shape::kSubs;

  static void fit(const float* x, const float* importance, const FitOptions& options, Grid& grid) {
    SymmetricSearch<Shape> search(x, importance);
    grid = keeps_whole_range(options) ? search.whole_ranges() : search.run();
  }

  static Code nearest(const Grid& grid, std::size_t column, const float* target, const float*) {
    const float code = Shape::round(*target * grid.inverse[column / kSubLength]);
    return static_cast<Code>(static_cast<int>(code) - Shape::kLow);
  }

  static void value(const Grid& grid, std::size_t column, Code code, float* out) {
    *out = grid.step[column / kSubLength] * static_cast<float>(static_cast<int>(code) + Shape::kLow);
  }

  static std::vector<GridPart> grid_parts(const Grid& grid, std::size_t column) {
    const std::size_t s = column / kSubLength;
    return {{"scale d of the block", static_cast<double>(grid.d)},
            {"integer of the sub-block", static_cast<double>(grid.scales[s])},
            {"step = d * integer", static_cast<double>(grid.step[s])}};
  }

  template <class Block>
  static std::optional<std::string> find_symmetric_defect(const Block& block) {
    if (!f16_is_finite(block.d)) return "the scale is not finite";
    return std::nullopt;
  }
};

// Q4_K and Q5_K keep eight 6-bit scales and minima in twelve bytes: the first four of each in the low six bits of a
// byte; of the last four the low four bits share a byte, the high two lie above the first four.
[[gnu::always_inline]] inline void pack_six_bit_pairs(const std::uint8_t* scales, const std::uint8_t* minima,
                                                      std::uint8_t* bytes) {
  for (std::size_t s = 0; s < 4; ++s) {
    bytes[s] = static_cast<std::uint8_t>(scales[s] | (scales[s + 4] >> 4) << 6);
    bytes[s + 4] = static_cast<std::uint8_t>(minima[s] | (minima[s + 4] >> 4) << 6);
    bytes[s + 8] = static_cast<std::uint8_t>((scales[s + 4] & 15) | (minima[s + 4] & 15) << 4);
  }
}

inline void unpack_six_bit_pairs(const std::uint8_t* bytes, std::uint8_t* scales, std::uint8_t* minima) {
  for (std::size_t s = 0; s < 4; ++s) {
    scales[s] = bytes[s] & 63;
    minima[s] = bytes[s + 4] & 63;
    scales[s + 4] = static_cast<std::uint8_t>((bytes[s + 8] & 15) | (bytes[s] >> 6) << 4);
    minima[s + 4] = static_cast<std::uint8_t>((bytes[s + 8] >> 4) | (bytes[s + 4] >> 6) << 4);
  }
}

// The low two bits of 256 codes in 64 bytes: of each 128 columns, column 32 j + l at bits 2 j of byte l.
template <class T>
[[gnu::always_inline]] inline void pack_two_bits(const T* codes, std::uint8_t* bytes) {
  for (std::size_t h = 0; h < 2; ++h)
    for (std::size_t l = 0; l < 32; ++l) {
      const T* code = codes + 128 * h + l;
      bytes[32 * h + l] =
          static_cast<std::uint8_t>((code[0] & 3) | (code[32] & 3) << 2 | (code[64] & 3) << 4 | (code[96] & 3) << 6);
    }
}

inline void unpack_two_bits(const std::uint8_t* bytes, Code* codes) {
  for (std::size_t i = 0; i < kSuperBlock; ++i) codes[i] = bytes[32 * (i / 128) + i % 32] >> (i % 128 / 32 * 2) & 3u;
}

}  // namespace nibble
