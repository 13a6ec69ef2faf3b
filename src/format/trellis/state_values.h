// SPDX-License-Identifier: Apache-2.0
//
// What the states of a trellis stand for: integers of one signed byte, so that products take them as they are. Internal
// to format/ and kernels/.
//
// 8 state bits: a table for each number of code bits, trained on normal numbers (tools/trellis_tables.py). More: the
// four bytes of state * 0xCBAC1FED mod 2^32, six bits of each, summed, less 126; nothing is stored, and sums of four
// are close enough to normal.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "format/trellis/trellis_shape.h"

namespace nibble {

inline constexpr unsigned kTableStateBits = 8;
inline constexpr std::uint32_t kStateFactor = 0xCBAC1FEDu, kStateMask = 0x3F3F3F3Fu;
inline constexpr std::int32_t kHashMiddle = 126;

// Of a state without a table: its value plus kHashMiddle. Static as the functions of trellis_shape.h.
static constexpr std::uint32_t hashed_state(std::uint32_t state) {
  const std::uint32_t bytes = state * kStateFactor & kStateMask;
  return (bytes & 255) + (bytes >> 8 & 255) + (bytes >> 16 & 255) + (bytes >> 24);
}

// The table of 8 state bits. code_bits: 1 .. 6.
std::span<const std::int8_t, 256> trellis_table(unsigned code_bits);

// Of every state of a shape, in order.
std::vector<std::int8_t> trellis_values(const TrellisShape& shape);

}  // namespace nibble
