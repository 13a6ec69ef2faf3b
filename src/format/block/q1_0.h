// SPDX-License-Identifier: Apache-2.0
//
// Q1_0 of ggml: 128 signs and a half-precision scale, their mean magnitude, which is also the scale of least squared
// error; with an importance and FitRule::search or automatic it is the weighted mean. Bit j % 8 of byte j / 8 is set
// where x = d, clear where x = -d.
#pragma once

#include "format/block_format.h"

namespace nibble {

struct Q1_0 {
  static constexpr BlockDescriptor kInfo{.name = "q1_0",
                                         .description = "signs, one scale per 128",
                                         .columns = 128,
                                         .num_codes = 2,
                                         .ggml_type = 41,
                                         .ggml_ftype = 40,
                                         .max_magnitude = 65504.0};
  struct Block {
    std::uint16_t d;
    std::uint8_t qs[16];
  };
  static_assert(sizeof(Block) == 18);
  struct Grid {
    float d;
  };

  static void fit(const float* x, const float* importance, const FitOptions& options, Grid& grid);
  static Code nearest(const Grid& grid, std::size_t column, const float* target, const float* metric);
  static void value(const Grid& grid, std::size_t column, Code code, float* out);
  static void pack(const Grid& grid, const Code* codes, Block& block);
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static std::optional<std::string> find_defect(const Block& block);
};

}  // namespace nibble
