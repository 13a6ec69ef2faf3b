// SPDX-License-Identifier: Apache-2.0
//
// IQ1_S of ggml: units of 8 columns, each one of 2048 points of {-1, 0, 1}; per 32 columns one 3-bit scale and a shift
// of all points by 1/8 up or down.
#pragma once

#include "format/family/iq_block.h"

namespace nibble {

struct IQ1_SUnit {
  static constexpr std::size_t kUnit = 8;
  static constexpr float kShifts[] = {0.125F, -0.125F};
  [[gnu::always_inline]] static Code nearest(const float* target, const float* weights, float shift) {
    return nearest_point(iq1_codebook(), target, weights, Signs::none, shift).index;
  }
  static Code nearest_in_metric(const float* target, const float* metric, float shift);
  [[gnu::always_inline]] static void point(Code code, float shift, float* out) {
    const float* levels = iq1_codebook().point(code);
    for (std::size_t j = 0; j < 8; ++j) out[j] = levels[j] + shift;
  }
};

struct IQ1_SShape : IQ1_SUnit {
  static constexpr std::size_t kSubs = 8;
  static constexpr int kNumScales = 8, kRounds = 2;
  static constexpr float kOutermost = 1.125F;
  static constexpr float kPeaks[] = {1, 1.3F, 1.7F, 2.2F};
  static constexpr float multiplier(int scale) { return 1.F + 2.F * static_cast<float>(scale); }
  static constexpr float step(float d, int scale) { return d * (1.F + 2.F * static_cast<float>(scale)); }
};

struct IQ1_S : VectorBlock<IQ1_SShape> {
  static constexpr BlockDescriptor kInfo{.name = "iq1_s",
                                         .description = "about 1.6 bits: 8 columns at a time from 2048 ternary points",
                                         .columns = 256,
                                         .unit = 8,
                                         .num_codes = 2048,
                                         .ggml_type = 19,
                                         .ggml_ftype = 24,
                                         .max_magnitude = 15 * 65504.0};
  struct Block {
    std::uint16_t d;
    std::uint8_t qs[32];  // low 8 bits of the indices
    std::uint16_t qh[8];  // four times bits 8 to 10 of the indices, the scale, and whether the shift is down
  };
  static_assert(sizeof(Block) == 50);

  static void pack(const Grid& grid, const Code* codes, Block& block);
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static void encode(const float* x, const float* importance, const FitOptions& options, Block& block);
  static std::optional<std::string> find_defect(const Block& block);
};

}  // namespace nibble
