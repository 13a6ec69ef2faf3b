// SPDX-License-Identifier: Apache-2.0
//
// The 2^16 points of E8P (Tseng et al. 2024, QuIP#, section 4.2): vectors of eight columns in E8 + 1/4, the densest
// packing of spheres there is in eight dimensions, found from a row of 256 magnitudes, seven signs and a shift. Integer
// here, in quarters, so that products take them as they are. Internal to format/ and kernels/.
//
// A row is eight numbers of 1, 3 and 5: the 227 with a sum of squares of at most 40, in lexicographic order, and behind
// them the first 29 in that order of those with five 3 and three 1. Of a code
//
//   bits 0-6   column j < 7 is negative
//   bit 7      the shift: -1, else +1
//   bits 8-15  the row
//
// the last column is negative where that makes the number of minus signs even, of rows whose sum is a multiple of 4, or
// odd, of the others. A value is 2 * sign * magnitude + shift: odd, of at most 11.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace nibble {

inline constexpr std::size_t kLatticeCols = 8, kLatticeRows = 256;
inline constexpr std::int32_t kLargestLatticeValue = 11;

struct LatticeRow {
  std::array<std::uint8_t, kLatticeCols> magnitudes;
  bool is_odd;  // in its number of minus signs
};

const std::array<LatticeRow, kLatticeRows>& lattice_rows();

// The values of a code.
std::array<std::int8_t, kLatticeCols> lattice_values(std::uint16_t code);

// The code of values that lie on the lattice: one more than twice the halves of a point of E8. Nothing where they are
// none of the points.
std::optional<std::uint16_t> lattice_code(const std::array<std::int32_t, kLatticeCols>& values);

}  // namespace nibble
