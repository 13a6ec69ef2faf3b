// SPDX-License-Identifier: Apache-2.0
#include "format/lattice/e8p_points.h"

#include <bit>
#include <cstdlib>

namespace nibble {
namespace {

constexpr unsigned kMostSquares = 40, kNextSquares = 48;
constexpr unsigned kVectors = 6561;  // of eight digits of three levels

// The rows in lexicographic order whose sum of squares is at most kMostSquares, then those of kNextSquares without a 5,
// until there is no more room.
constexpr std::array<LatticeRow, kLatticeRows> make_rows() {
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

// The row of a vector of digits, the first column's the highest; kLatticeRows where there is none.
std::array<std::uint16_t, kVectors> number_rows() {
  std::array<std::uint16_t, kVectors> numbers;
  numbers.fill(kLatticeRows);
  for (std::uint16_t row = 0; row < kLatticeRows; ++row) {
    unsigned vector = 0;
    for (const std::uint8_t magnitude : kRows[row].magnitudes) vector = 3 * vector + magnitude / 2;
    numbers[vector] = row;
  }
  return numbers;
}

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

std::optional<std::uint16_t> lattice_code(const std::array<std::int32_t, kLatticeCols>& values) {
  static const std::array<std::uint16_t, kVectors> numbers = number_rows();
  // Twice a magnitude is two more than a multiple of four.
  const bool is_down = (static_cast<unsigned>(values[0]) & 3u) == 1;
  unsigned vector = 0, negative = 0;
  for (std::size_t j = 0; j < kLatticeCols; ++j) {
    const std::int32_t twice = values[j] + (is_down ? 1 : -1);
    const unsigned level = static_cast<unsigned>(std::abs(twice)) / 4;
    if (level > 2) return std::nullopt;
    vector = 3 * vector + level;
    negative |= (twice < 0 ? 1u : 0u) << j;
  }
  const unsigned row = numbers[vector];
  if (row == kLatticeRows) return std::nullopt;
  return static_cast<std::uint16_t>(row << 8 | (is_down ? 128u : 0u) | (negative & 127u));
}

}  // namespace nibble
