// SPDX-License-Identifier: Apache-2.0
//
// IQ3_XXS of ggml: units of 8 columns, each two of 256 points of 4 coordinates with an even number of minus signs among
// the 8; one 4-bit scale per 32.
#pragma once

#include "format/family/iq_block.h"

namespace nibble {

// code = first index + (second index << 8) + (7 signs << 16)
struct IQ3_XXSUnit {
  static constexpr std::size_t kUnit = 8;
  static constexpr float kShifts[] = {0.F};
  // Of the two halves each has its best point; where the number of minus signs is odd, the half that loses least takes
  // a flipped sign.
  [[gnu::always_inline]] static Code nearest(const float* target, const float* weights, float) {
    const Codebook& book = iq3_xxs_codebook();
    const float* second_weights = weights != nullptr ? weights + 4 : nullptr;
    Codebook::Choice first = nearest_point(book, target, weights, Signs::any, 0);
    Codebook::Choice second = nearest_point(book, target + 4, second_weights, Signs::any, 0);
    const bool first_odd = std::popcount(first.negative) % 2 != 0, second_odd = std::popcount(second.negative) % 2 != 0;
    if (first_odd != second_odd) {
      const Codebook::Choice other_first =
          nearest_point(book, target, weights, first_odd ? Signs::even : Signs::odd, 0);
      const Codebook::Choice other_second =
          nearest_point(book, target + 4, second_weights, second_odd ? Signs::even : Signs::odd, 0);
      if (other_first.error - first.error <= other_second.error - second.error)
        first = other_first;
      else
        second = other_second;
    }
    return first.index | second.index << 8 | (first.negative | (second.negative & 7u) << 4) << 16;
  }
  static Code nearest_in_metric(const float* target, const float* metric, float shift);
  [[gnu::always_inline]] static void point(Code code, float, float* out) {
    std::uint32_t negative = code >> 16 & 127u;
    negative |= (static_cast<std::uint32_t>(std::popcount(negative)) & 1u) << 7;
    for (std::size_t j = 0; j < 8; ++j) {
      const float magnitude = iq3_xxs_codebook().point(code >> (j / 4 * 8) & 255u)[j % 4];
      out[j] = (negative >> j & 1u) != 0 ? -magnitude : magnitude;
    }
  }
};

struct IQ3_XXSShape : IQ3_XXSUnit {
  static constexpr std::size_t kSubs = 8;
  static constexpr int kNumScales = 16, kRounds = 2;
  static constexpr float kOutermost = 62;
  static constexpr float kPeaks[] = {46, 54, 62, 70};
  static constexpr float multiplier(int scale) { return (0.5F + static_cast<float>(scale)) * 0.5F; }
  static constexpr float step(float d, int scale) { return d * (0.5F + static_cast<float>(scale)) * 0.5F; }
};

struct IQ3_XXS : VectorBlock<IQ3_XXSShape> {
  static constexpr BlockDescriptor kInfo{.name = "iq3_xxs",
                                         .description = "about 3 bits: 8 columns at a time from pairs of 256 points",
                                         .columns = 256,
                                         .unit = 8,
                                         .num_codes = 1u << 23,
                                         .ggml_type = 18,
                                         .ggml_ftype = 23,
                                         .max_magnitude = 62 * 7.75 * 65504};
  struct Block {
    std::uint16_t d;
    std::uint8_t qs[64];     // indices
    std::uint8_t signs[32];  // 32-bit words, one per 32 columns: four times 7 signs, then the scale
  };
  static_assert(sizeof(Block) == 98);

  static void pack(const Grid& grid, const Code* codes, Block& block);
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static void encode(const float* x, const float* importance, const FitOptions& options, Block& block);
  static std::optional<std::string> find_defect(const Block& block);
};

}  // namespace nibble
