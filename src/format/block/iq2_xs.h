// SPDX-License-Identifier: Apache-2.0
//
// IQ2_XS of ggml: units of 8 columns, each one of 512 points with an even number of minus signs; one 4-bit scale
// per 16.
#pragma once

#include "format/family/iq_block.h"

namespace nibble {

struct IQ2_XSShape : SignedUnit<iq2_xs_codebook, 8, 9, Signs::even> {
  static constexpr std::size_t kSubs = 16;
  static constexpr int kNumScales = 16, kRounds = 2;
  static constexpr float kOutermost = 43;
  static constexpr float kPeaks[] = {36, 43, 51, 61};
  static constexpr float multiplier(int scale) { return (0.5F + static_cast<float>(scale)) * 0.25F; }
  static constexpr float step(float d, int scale) { return d * (0.5F + static_cast<float>(scale)) * 0.25F; }
};

struct IQ2_XS : VectorBlock<IQ2_XSShape> {
  static constexpr BlockDescriptor kInfo{.name = "iq2_xs",
                                         .description = "about 2.3 bits: 8 columns at a time from 512 points",
                                         .columns = 256,
                                         .unit = 8,
                                         .num_codes = 1u << 16,
                                         .ggml_type = 17,
                                         .ggml_ftype = 20,
                                         .max_magnitude = 43 * 3.875 * 65504};
  struct Block {
    std::uint16_t d;
    std::uint16_t qs[32];    // index, then 7 signs
    std::uint8_t scales[8];  // two to a byte
  };
  static_assert(sizeof(Block) == 74);

  static void pack(const Grid& grid, const Code* codes, Block& block);
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static void encode(const float* x, const float* importance, const FitOptions& options, Block& block);
  static std::optional<std::string> find_defect(const Block& block);
};

}  // namespace nibble
