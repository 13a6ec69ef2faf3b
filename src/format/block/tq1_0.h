// SPDX-License-Identifier: Apache-2.0
//
// TQ1_0 of ggml: 256 ternary digits, five to a byte, and a half-precision scale. A byte holds v = d0 * 81 + d1 * 27 +
// d2 * 9 + d3 * 3 + d4 as ceil(v * 256 / 243), so that digit n is the carry of (byte * 3^n mod 256) * 3. Digit n of
// byte m is column 32 n + m for the first 32 bytes, 160 + 16 n + m for the next 16, and 240 + 4 n + m for the last
// four, which hold four digits.
#pragma once

#include "format/family/ternary_block.h"

namespace nibble {

struct Tq1_0Block {
  std::uint8_t qs[48];
  std::uint8_t qh[4];
  std::uint16_t d;
};
static_assert(sizeof(Tq1_0Block) == 54);

struct Tq1_0 : TernaryBlock<Tq1_0Block> {
  static constexpr BlockDescriptor kInfo{.name = "tq1_0",
                                         .description = "{-1, 0, 1}, five to a byte, one scale per 256",
                                         .columns = 256,
                                         .num_codes = 3,
                                         .ggml_type = 34,
                                         .ggml_ftype = 36,
                                         .max_magnitude = 65504.0};

  static void pack(const Grid& grid, const Code* codes, Block& block);
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static void encode(const float* x, const float* importance, const FitOptions& options, Block& block);
  static std::optional<std::string> find_defect(const Block& block);
};

}  // namespace nibble
