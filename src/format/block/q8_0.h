// SPDX-License-Identifier: Apache-2.0
//
// Q8_0 of ggml: 32 signed bytes and a half-precision scale.
#pragma once

#include "format/block_format.h"

namespace nibble {

struct Q8_0 {
  static constexpr BlockDescriptor kInfo{.name = "q8_0",
                                         .description = "8-bit integers, one scale per 32: practically lossless",
                                         .columns = 32,
                                         .num_codes = 256,
                                         .ggml_type = 8,
                                         .ggml_ftype = 7,
                                         .max_magnitude = 127 * 65504.0,
                                         .first_code = -128};
  struct Block {
    std::uint16_t d;
    std::int8_t qs[32];
  };
  static_assert(sizeof(Block) == 34);
  struct Grid {
    float d;
  };

  static void fit(const float* x, const float* importance, const FitOptions& options, Grid& grid);
  static Code nearest(const Grid& grid, std::size_t column, const float* target,
                      const float* metric);  // code = q + 128
  static void value(const Grid& grid, std::size_t column, Code code, float* out);
  static void pack(const Grid& grid, const Code* codes, Block& block);
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static void encode(const float* x, const float* importance, const FitOptions& options, Block& block);
  static void decode(const Block& block, float* out);
  static std::optional<std::string> find_defect(const Block& block);
};

}  // namespace nibble
