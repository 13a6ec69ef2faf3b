// SPDX-License-Identifier: Apache-2.0
//
// Q2_0 of ggml: 64 integers {-1, 0, 1, 2} and a half-precision scale; two bits each, least-significant first, stored
// plus one. The reference's rule (FitRule::absmax) takes the largest magnitude for the scale and so never uses 2;
// search does.
#pragma once

#include "format/block_format.h"

namespace nibble {

struct Q2_0 {
  static constexpr BlockDescriptor kInfo{.name = "q2_0",
                                         .description = "2-bit integers -1..2, one scale per 64",
                                         .columns = 64,
                                         .num_codes = 4,
                                         .ggml_type = 42,
                                         .ggml_ftype = 41,
                                         .max_magnitude = 65504.0};
  struct Block {
    std::uint16_t d;
    std::uint8_t qs[16];
  };
  static_assert(sizeof(Block) == 18);
  struct Grid {
    float d;
  };

  static void fit(const float* x, const float* importance, const FitOptions& options, const SpanLoops& loops,
                  Grid& grid);
  static Code nearest(const Grid& grid, std::size_t column, const float* target, const float* metric);
  static void value(const Grid& grid, std::size_t column, Code code, float* out);
  static void pack(const Grid& grid, const Code* codes, Block& block);
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static void encode(const float* x, const float* importance, const FitOptions& options, const SpanLoops& loops,
                     Block& block);
  static std::optional<std::string> find_defect(const Block& block);
};

}  // namespace nibble
