// SPDX-License-Identifier: Apache-2.0
//
// IQ3_S of ggml: units of 4 columns, each one of 512 points with any signs; one 4-bit scale per 32.
#pragma once

#include "format/family/iq_block.h"

namespace nibble {

struct IQ3_SShape : SignedUnit<iq3_s_codebook, 4, 9, Signs::any> {
  static constexpr std::size_t kSubs = 8;
  static constexpr int kNumScales = 16, kRounds = 2;
  static constexpr float kOutermost = 15;
  static constexpr float kPeaks[] = {10.5F, 12.5F, 14.5F, 16.5F};
  static constexpr float multiplier(int scale) { return 1.F + 2.F * static_cast<float>(scale); }
  static constexpr float step(float d, int scale) { return d * (1.F + 2.F * static_cast<float>(scale)); }
};

struct IQ3_S : VectorBlock<IQ3_SShape> {
  static constexpr BlockDescriptor kInfo{.name = "iq3_s",
                                         .description = "about 3.4 bits: 4 columns at a time from 512 points",
                                         .columns = 256,
                                         .unit = 4,
                                         .num_codes = 1u << 13,
                                         .ggml_type = 21,
                                         .ggml_ftype = 26,
                                         .max_magnitude = 15 * 31 * 65504.0};
  struct Block {
    std::uint16_t d;
    std::uint8_t qs[64];     // low 8 bits of the indices
    std::uint8_t qh[8];      // bit 8 of the indices
    std::uint8_t signs[32];  // bit j: column j of eight is negative
    std::uint8_t scales[4];  // two to a byte
  };
  static_assert(sizeof(Block) == 110);

  static void pack(const Grid& grid, const Code* codes, Block& block);
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static void encode(const float* x, const float* importance, const FitOptions& options, Block& block);
  static std::optional<std::string> find_defect(const Block& block);
};

}  // namespace nibble
