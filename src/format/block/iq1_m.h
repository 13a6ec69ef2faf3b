// SPDX-License-Identifier: Apache-2.0
//
// IQ1_M of ggml: units of 8 columns, each one of 2048 points of {-1, 0, 1} shifted by 1/8 up or down; one 3-bit scale
// per 16. The half that scales all is spread over the top bits of the scales.
#pragma once

#include "format/family/iq_block.h"

namespace nibble {

// code = index + (whether the shift is down << 11)
struct IQ1_MUnit {
  static constexpr std::size_t kUnit = 8;
  static constexpr float kShifts[] = {0.F};
  static constexpr float kShift = 0.125F;  // of all coordinates, up or down
  [[gnu::always_inline]] static Code nearest(const float* target, const float* weights, float) {
    const Codebook::Choice up = nearest_point(iq1_codebook(), target, weights, Signs::none, kShift);
    const Codebook::Choice down = nearest_point(iq1_codebook(), target, weights, Signs::none, -kShift);
    return up.error <= down.error ? up.index : down.index | 2048u;
  }
  static Code nearest_in_metric(const float* target, const float* metric, float shift);
  [[gnu::always_inline]] static void point(Code code, float, float* out) {
    const float* levels = iq1_codebook().point(code & 2047u);
    for (std::size_t j = 0; j < 8; ++j) out[j] = levels[j] + ((code & 2048u) != 0 ? -kShift : kShift);
  }
};

struct IQ1_MShape : IQ1_MUnit {
  static constexpr std::size_t kSubs = 16;
  static constexpr int kNumScales = 8, kRounds = 2;
  static constexpr float kOutermost = 1.125F;
  static constexpr float kPeaks[] = {1, 1.3F, 1.7F, 2.2F};
  static constexpr float multiplier(int scale) { return 1.F + 2.F * static_cast<float>(scale); }
  static constexpr float step(float d, int scale) { return d * (1.F + 2.F * static_cast<float>(scale)); }
};

struct IQ1_M : VectorBlock<IQ1_MShape> {
  static constexpr BlockDescriptor kInfo{.name = "iq1_m",
                                         .description = "about 1.8 bits: 8 columns at a time from 2048 ternary points",
                                         .columns = 256,
                                         .unit = 8,
                                         .num_codes = 4096,
                                         .ggml_type = 29,
                                         .ggml_ftype = 31,
                                         .max_magnitude = 15 * 65504.0};
  struct Block {
    std::uint8_t qs[32];      // low 8 bits of the indices
    std::uint8_t qh[16];      // two to a byte: bits 8 to 10 of the index, and whether the shift is down
    std::uint16_t scales[4];  // four 3-bit scales each, then four bits of d
  };
  static_assert(sizeof(Block) == 56);

  static void pack(const Grid& grid, const Code* codes, Block& block);
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static void encode(const float* x, const float* importance, const FitOptions& options, Block& block);
  static std::optional<std::string> find_defect(const Block& block);
};

}  // namespace nibble
