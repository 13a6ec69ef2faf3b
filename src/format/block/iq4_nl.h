// SPDX-License-Identifier: Apache-2.0
//
// IQ4_NL of ggml: 32 codes of 4 bits into a table of 16 unevenly spaced points (IQ4_XS has the same) and a
// half-precision scale. Code j lies in the low half of byte j, code j + 16 in the high half. The reference's own rule
// is a search; so is FitRule::automatic. FitRule::absmax puts the peak on the table's far end, -127.
#pragma once

#include "format/block_format.h"

namespace nibble {

struct Iq4_Nl {
  static constexpr BlockDescriptor kInfo{.name = "iq4_nl",
                                         .description = "4-bit table of uneven points, one scale per 32",
                                         .columns = 32,
                                         .num_codes = 16,
                                         .ggml_type = 20,
                                         .ggml_ftype = 25,
                                         .max_magnitude = 113 * 65504.0};
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
  static void encode(const float* x, const float* importance, const FitOptions& options, const SpanLoops& loops,
                     Block& block);
  static Code nearest(const Grid& grid, std::size_t column, const float* target, const float* metric);
  static void value(const Grid& grid, std::size_t column, Code code, float* out);
  static void pack(const Grid& grid, const Code* codes, Block& block);
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static std::optional<std::string> find_defect(const Block& block);
};

}  // namespace nibble
