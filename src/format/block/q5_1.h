// SPDX-License-Identifier: Apache-2.0
//
// Q5_1 of ggml: thirty-two 5-bit integers with a half-precision scale and offset.
#pragma once

#include "format/family/legacy_block.h"

namespace nibble {

struct Q5_1Block {
  std::uint16_t d;
  std::uint16_t m;
  std::uint8_t qh[4];
  std::uint8_t qs[16];
};
static_assert(sizeof(Q5_1Block) == 24);

struct Q5_1 : AffineLegacy<Q5_1Block, 5> {
  static constexpr BlockDescriptor kInfo{.name = "q5_1",
                                         .description = "5-bit integers, scale and offset per 32",
                                         .columns = 32,
                                         .num_codes = 32,
                                         .ggml_type = 7,
                                         .ggml_ftype = 9,
                                         .max_magnitude = 65504.0};
};

}  // namespace nibble
