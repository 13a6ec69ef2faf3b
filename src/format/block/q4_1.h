// SPDX-License-Identifier: Apache-2.0
//
// Q4_1 of ggml: thirty-two 4-bit integers with a half-precision scale and offset.
#pragma once

#include "format/family/legacy_block.h"

namespace nibble {

struct Q4_1Block {
  std::uint16_t d;
  std::uint16_t m;
  std::uint8_t qs[16];
};
static_assert(sizeof(Q4_1Block) == 20);

struct Q4_1 : AffineLegacy<Q4_1Block, 4> {
  static constexpr BlockDescriptor kInfo{.name = "q4_1",
                                         .description = "4-bit integers, scale and offset per 32",
                                         .columns = 32,
                                         .num_codes = 16,
                                         .ggml_type = 3,
                                         .ggml_ftype = 3,
                                         .max_magnitude = 65504.0};
};

}  // namespace nibble
