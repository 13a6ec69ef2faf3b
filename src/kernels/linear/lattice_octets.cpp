// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/lattice_octets.h"

#include <array>
#include <bit>
#include <cstring>

#include "format/lattice/e8p_points.h"
#include "kernels/kernel_table.h"

namespace nibble {
namespace {

static_assert(std::endian::native == std::endian::little);  // the first column in the lowest byte
static_assert(kLargestLatticeValue < kLatticeMiddle);

constexpr std::uint64_t kOnes = 0x0101010101010101u;

struct Tables {
  struct Row {
    std::uint64_t plus, minus;  // the middle and twice the magnitudes, more and less
    std::uint64_t last_sign;    // what is turned over of the last column's sign: 0 or its whole byte
  };
  std::array<Row, kLatticeRows> rows{};
  std::array<std::uint64_t, 128> signs{};  // by seven signs: a byte of ones where a column is negative, were rows even
};

Tables make_tables() {
  Tables tables;
  for (std::size_t r = 0; r < kLatticeRows; ++r) {
    const LatticeRow& row = lattice_rows()[r];
    for (std::size_t j = 0; j < kLatticeCols; ++j) {
      const std::uint64_t twice = 2u * row.magnitudes[j];
      tables.rows[r].plus |= (kLatticeMiddle + twice) << (8 * j);
      tables.rows[r].minus |= (kLatticeMiddle - twice) << (8 * j);
    }
    tables.rows[r].last_sign = row.is_odd ? std::uint64_t{255} << 56 : 0;
  }
  for (unsigned signs = 0; signs < 128; ++signs) {
    const unsigned all = signs | (std::popcount(signs) % 2 != 0 ? 128u : 0u);
    for (std::size_t j = 0; j < kLatticeCols; ++j)
      if ((all >> j & 1u) != 0) tables.signs[signs] |= std::uint64_t{255} << (8 * j);
  }
  return tables;
}

}  // namespace

void decode_octets(const std::uint8_t* codes, std::size_t octets, std::uint8_t* panel) {
  static const Tables tables = make_tables();
  constexpr std::size_t kQuadBytes = kPanelRows * 4;
  for (std::size_t octet = 0; octet < octets; ++octet, codes += 2 * kPanelRows, panel += 2 * kQuadBytes)
    for (std::size_t r = 0; r < kPanelRows; ++r) {
      const unsigned low = codes[2 * r];
      const Tables::Row& row = tables.rows[codes[2 * r + 1]];
      const std::uint64_t negative = tables.signs[low & 127u] ^ row.last_sign;
      const std::uint64_t unshifted = (row.plus & ~negative) | (row.minus & negative);
      const std::uint64_t operands = low >= 128 ? unshifted - kOnes : unshifted + kOnes;
      std::memcpy(panel + 4 * r, &operands, 4);
      const std::uint64_t upper = operands >> 32;
      std::memcpy(panel + kQuadBytes + 4 * r, &upper, 4);
    }
}

}  // namespace nibble
