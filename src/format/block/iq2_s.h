// SPDX-License-Identifier: Apache-2.0
//
// IQ2_S of ggml: units of 8 columns, each one of 1024 points with any signs; one 4-bit scale per 16.
#pragma once

#include "format/family/iq_block.h"

namespace nibble {

struct IQ2_SShape : SignedUnit<iq2_s_codebook, 8, 10, Signs::any> {
  static constexpr std::size_t kSubs = 16;
  static constexpr int kNumScales = 16, kRounds = 2;
  static constexpr float kOutermost = 43;
  static constexpr float kPeaks[] = {36, 43, 51, 61};
  static constexpr float multiplier(int scale) { return (0.5F + static_cast<float>(scale)) * 0.25F; }
  static constexpr float step(float d, int scale) { return d * (0.5F + static_cast<float>(scale)) * 0.25F; }
};

struct IQ2_S : VectorBlock<IQ2_SShape> {
  static constexpr BlockDescriptor kInfo{.name = "iq2_s",
                                         .description = "about 2.6 bits: 8 columns at a time from 1024 points",
                                         .columns = 256,
                                         .unit = 8,
                                         .num_codes = 1u << 18,
                                         .ggml_type = 22,
                                         .ggml_ftype = 28,
                                         .max_magnitude = 43 * 3.875 * 65504};
  struct Block {
    std::uint16_t d;
    std::uint8_t qs[32];     // low 8 bits of the indices
    std::uint8_t signs[32];  // bit j: column j of the unit is negative
    std::uint8_t qh[8];      // bits 8 and 9 of the indices, four to a byte
    std::uint8_t scales[8];  // two to a byte
  };
  static_assert(sizeof(Block) == 82);

  static void pack(const Grid& grid, const Code* codes, Block& block);
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static void encode(const float* x, const float* importance, const FitOptions& options, Block& block);
  static std::optional<std::string> find_defect(const Block& block);
};

}  // namespace nibble
