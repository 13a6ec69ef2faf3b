// SPDX-License-Identifier: Apache-2.0
//
// Points of a lattice one by one: the reference.
#include <bit>
#include <cstring>

#include "kernels/linear/lattice_octets.h"

namespace nibble::scalar {
namespace {

static_assert(std::endian::native == std::endian::little);  // the first column in the lowest byte

void decode(std::size_t num_refinements, const std::uint8_t* codes, std::size_t octets, std::uint8_t* panel) {
  constexpr std::size_t kRows = 64, kQuadBytes = kRows * 4;
  constexpr std::uint64_t kOnes = 0x0101010101010101u, kReflection = 2 * kLatticeMiddle * kOnes;
  const OctetTables& tables = octet_tables();
  for (std::size_t octet = 0; octet < octets; ++octet, codes += octet_bytes(num_refinements), panel += 2 * kQuadBytes)
    for (std::size_t r = 0; r < kRows; ++r) {
      const unsigned low = codes[2 * r];
      const std::uint64_t point = tables.points[codes[2 * r + 1]], negative = tables.signs[low & 127u];
      const std::uint64_t unshifted = (point & ~negative) | ((kReflection - point) & negative);
      std::uint64_t operands = low >= 128 ? unshifted - kOnes : unshifted + kOnes;
      for (std::size_t i = 0; i < num_refinements; ++i)
        operands = (i == 0 ? 1 : 2) * operands + tables.refinements[codes[(2 + i) * kRows + r]];
      std::memcpy(panel + 4 * r, &operands, 4);
      const std::uint64_t upper = operands >> 32;
      std::memcpy(panel + kQuadBytes + 4 * r, &upper, 4);
    }
}

}  // namespace

const LatticeKernels kLatticeKernels = {decode, nullptr};

}  // namespace nibble::scalar
