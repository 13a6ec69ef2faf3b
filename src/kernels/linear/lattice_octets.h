// SPDX-License-Identifier: Apache-2.0
//
// Points of a lattice (format/lattice) as integer products read them: resident are the codes of 64 rows side by side,
// octet of columns after octet, and what is multiplied are the values plus a middle. One way for all instruction sets:
// eight operands are one word, made of a row of the table by two selections.
//
//   decode_octets(codes, 32, panel);   // 256 columns of 64 rows
#pragma once

#include <cstddef>
#include <cstdint>

namespace nibble {

inline constexpr std::int32_t kLatticeMiddle = 12;

// codes [octets, 64] of two bytes each, little-endian; panel [2 * octets, 64, 4] as integer_shape.h has quads of
// columns.
void decode_octets(const std::uint8_t* codes, std::size_t octets, std::uint8_t* panel);

}  // namespace nibble
