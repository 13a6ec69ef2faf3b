// SPDX-License-Identifier: Apache-2.0
//
// Q5_0 of ggml: thirty-two 5-bit integers around 16 and a half-precision scale, whose sign is that of -peak.
#pragma once

#include "format/family/legacy_block.h"

namespace nibble {

struct Q5_0Block {
  std::uint16_t d;
  std::uint8_t qh[4];
  std::uint8_t qs[16];
};
static_assert(sizeof(Q5_0Block) == 22);

struct Q5_0 : SymmetricLegacy<Q5_0Block, 5> {
  static constexpr BlockDescriptor kInfo{.name = "q5_0",
                                         .description = "5-bit integers, one scale per 32",
                                         .columns = 32,
                                         .num_codes = 32,
                                         .ggml_type = 6,
                                         .ggml_ftype = 8,
                                         .max_magnitude = 16 * 65504.0};
};

}  // namespace nibble
