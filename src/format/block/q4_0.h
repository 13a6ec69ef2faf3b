// SPDX-License-Identifier: Apache-2.0
//
// Q4_0 of ggml: thirty-two 4-bit integers around 8 and a half-precision scale, whose sign is that of -peak.
#pragma once

#include "format/family/legacy_block.h"

namespace nibble {

struct Q4_0Block {
  std::uint16_t d;
  std::uint8_t qs[16];
};
static_assert(sizeof(Q4_0Block) == 18);

struct Q4_0 : SymmetricLegacy<Q4_0Block, 4> {
  static constexpr BlockDescriptor kInfo{
      .name = "q4_0",
      .description = "4-bit integers, one scale per 32: the plainest and fastest 4 bits",
      .columns = 32,
      .num_codes = 16,
      .ggml_type = 2,
      .ggml_ftype = 2,
      .max_magnitude = 8 * 65504.0};
};

}  // namespace nibble
