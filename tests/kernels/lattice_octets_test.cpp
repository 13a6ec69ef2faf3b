// SPDX-License-Identifier: Apache-2.0
//
// Operands of lattices: every code's values, where quads of columns have them, the same on every set.
#include "kernels/linear/lattice_octets.h"

#include "format/lattice/nested_points.h"
#include "kernels/guarded_buffer.h"
#include "kernels/kernel_sets.h"

namespace nibble {
namespace {

// Every point and, cycling through them at other paces, every refinement.
TEST(LatticeOctets, AreTheValuesOfEveryCodeOnEverySet) {
  constexpr std::size_t kCodes = 65536, kRows = 64, kOctets = kCodes / kRows;
  for (std::size_t refinements = 0; refinements <= kMostRefinements; ++refinements) {
    const auto code_of = [&](std::size_t i) {
      return static_cast<Code>(i | (i * 7 + 3) % 256 << 16 | (i / 256 * 5 + i) % 256 << 24);
    };
    const std::size_t bytes = octet_bytes(refinements);
    std::vector<std::uint8_t> codes(kOctets * bytes), expected(kCodes * kLatticeCols);
    for (std::size_t i = 0; i < kCodes; ++i) {
      const Code code = code_of(i);
      std::uint8_t* const octet = &codes[i / kRows * bytes];
      octet[2 * (i % kRows)] = static_cast<std::uint8_t>(code);
      octet[2 * (i % kRows) + 1] = static_cast<std::uint8_t>(code >> 8);
      for (std::size_t r = 0; r < refinements; ++r)
        octet[(2 + r) * kRows + i % kRows] = static_cast<std::uint8_t>(code >> (16 + 8 * r));
      const auto values = nested_values(code, refinements);
      for (std::size_t column = 0; column < kLatticeCols; ++column)
        expected[((2 * (i / kRows) + column / 4) * kRows + i % kRows) * 4 + column % 4] =
            static_cast<std::uint8_t>(kNestedMiddles[refinements] + values[column]);
    }
    for (const Isa isa : runnable_sets()) {
      const GuardedBuffer<std::uint8_t> in(codes), panel(expected.size());
      lattice_kernels(isa).decode(refinements, in.data(), kOctets, panel.data());
      EXPECT_TRUE(panel.copy() == expected) << isa_name(isa) << ", " << refinements;
    }
  }
}

}  // namespace
}  // namespace nibble
