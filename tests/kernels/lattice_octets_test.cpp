// SPDX-License-Identifier: Apache-2.0
//
// Operands of lattices: every code's values, where quads of columns have them, the same on every set.
#include "kernels/linear/lattice_octets.h"

#include "format/lattice/e8p_points.h"
#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"

namespace nibble {
namespace {

TEST(LatticeOctets, AreTheValuesOfEveryCodeOnEverySet) {
  constexpr std::size_t kCodes = 65536, kRows = 64, kOctets = kCodes / kRows;
  std::vector<std::uint8_t> codes;
  for (std::size_t code = 0; code < kCodes; ++code) {
    codes.push_back(static_cast<std::uint8_t>(code & 255));
    codes.push_back(static_cast<std::uint8_t>(code >> 8));
  }
  std::vector<std::uint8_t> expected(kCodes * kLatticeCols);
  for (std::size_t code = 0; code < kCodes; ++code) {
    const auto values = lattice_values(static_cast<std::uint16_t>(code));
    for (std::size_t column = 0; column < kLatticeCols; ++column)
      expected[((2 * (code / kRows) + column / 4) * kRows + code % kRows) * 4 + column % 4] =
          static_cast<std::uint8_t>(kLatticeMiddle + values[column]);
  }
  for (const Isa isa : runnable_sets()) {
    const GuardedBuffer<std::uint8_t> in(codes), panel(expected.size());
    lattice_kernels(isa).decode(in.data(), kOctets, panel.data());
    EXPECT_TRUE(panel.copy() == expected) << isa_name(isa);
  }
}

}  // namespace
}  // namespace nibble
