// SPDX-License-Identifier: Apache-2.0
#include "format/lattice/e8p_points.h"

#include <bit>

namespace nibble {
namespace {

constexpr unsigned kMostSquares = 40, kNextSquares = 48;

// The rows in lexicographic order whose sum of squares is at most kMostSquares, then those of kNextSquares without a 5,
// until there is no more room.
constexpr std::array<LatticeRow, kLatticeRows> make_rows() {
  constexpr unsigned kVectors = 6561;  // of eight digits of three levels
  std::array<LatticeRow, kLatticeRows> rows{};
  std::size_t count = 0;
  for (const bool is_next : {false, true})
    for (unsigned vector = 0; vector < kVectors && count < kLatticeRows; ++vector) {
      LatticeRow row{};
      unsigned digits = vector, squares = 0, sum = 0, largest = 0;
      for (std::size_t j = kLatticeCols; j-- > 0; digits /= 3) {
        const unsigned magnitude = 2 * (digits % 3) + 1;
        row.magnitudes[j] = static_cast<std::uint8_t>(magnitude);
        squares += magnitude * magnitude;
        sum += magnitude;
        largest = magnitude > largest ? magnitude : largest;
      }
      row.is_odd = sum % 4 != 0;
      if (is_next ? squares == kNextSquares && largest == 3 : squares <= kMostSquares) rows[count++] = row;
    }
  return rows;
}

constexpr std::array<LatticeRow, kLatticeRows> kRows = make_rows();
static_assert(kRows.back().magnitudes[0] != 0);

}  // namespace

const std::array<LatticeRow, kLatticeRows>& lattice_rows() { return kRows; }

std::array<std::int8_t, kLatticeCols> lattice_values(std::uint16_t code) {
  const LatticeRow& row = kRows[code >> 8];
  unsigned negative = code & 127u;
  if ((std::popcount(negative) % 2 != 0) != row.is_odd) negative |= 128u;
  const int shift = (code & 128u) != 0 ? -1 : 1;
  std::array<std::int8_t, kLatticeCols> values{};
  for (std::size_t j = 0; j < kLatticeCols; ++j) {
    const int twice = 2 * row.magnitudes[j];
    values[j] = static_cast<std::int8_t>(((negative >> j & 1u) != 0 ? -twice : twice) + shift);
  }
  return values;
}

}  // namespace nibble
