// SPDX-License-Identifier: Apache-2.0
//
// TQ2_0 of ggml: 256 of {-1, 0, 1} in two bits each and a half-precision scale. Column 128 k + 32 l + m lies in bits 2
// l of byte 32 k + m. Code 3 is reserved.
#pragma once

#include "format/family/ternary_block.h"

namespace nibble {

struct Tq2_0Block {
  std::uint8_t qs[64];
  std::uint16_t d;
};
static_assert(sizeof(Tq2_0Block) == 66);

struct Tq2_0 : TernaryBlock<Tq2_0Block> {
  static constexpr BlockDescriptor kInfo{.name = "tq2_0",
                                         .description = "{-1, 0, 1} in two bits, one scale per 256",
                                         .columns = 256,
                                         .num_codes = 3,
                                         .ggml_type = 35,
                                         .ggml_ftype = 37,
                                         .max_magnitude = 65504.0};

  static void pack(const Grid& grid, const Code* codes, Block& block);
  static void unpack(const Block& block, Grid& grid, Code* codes);
  static void encode(const float* x, const float* importance, const FitOptions& options, Block& block);
  static std::optional<std::string> find_defect(const Block& block);
};

}  // namespace nibble
