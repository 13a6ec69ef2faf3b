// SPDX-License-Identifier: Apache-2.0
//
// Points of a lattice (format/lattice) as integer products read them: resident are the codes of 64 rows side by side,
// octet of columns after octet, their refinements behind them, and what is multiplied are the values plus a middle.
// Eight operands are one word: of a row of the table, reflected at the middle where a column is negative, plus a word
// for a refinement, twice that plus another for the next.
//
//   lattice_kernels(machine.isa).decode(0, codes, 32, panel);   // 256 columns of 64 rows
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/cpu.h"
#include "kernels/linear/tile_vector.h"

namespace nibble {

inline constexpr std::int32_t kLatticeMiddle = 12, kRefinementMiddle = 4;
// By the number of refinements.
inline constexpr std::array<std::int32_t, 3> kNestedMiddles = {
    kLatticeMiddle, kLatticeMiddle + kRefinementMiddle, 2 * (kLatticeMiddle + kRefinementMiddle) + kRefinementMiddle};
// Of 64 rows: two bytes each, then a byte each of every refinement.
constexpr std::size_t octet_bytes(std::size_t num_refinements) { return 64 * (2 + num_refinements); }

// Words with a byte for each column, the first in the lowest.
struct OctetTables {
  std::uint64_t points[256];  // the middle and twice the magnitudes; less them in the last column of odd rows
  std::uint64_t signs[128];   // by seven signs: 255 where a column is negative, the last one so that these are even
  std::uint64_t refinements[256];  // and their middle
};
const OctetTables& octet_tables();

struct LatticeKernels {
  // num_refinements: 0 to 2. codes [octets, octet_bytes], little-endian; panel [2 * octets, 64, 4] as integer_shape.h
  // has quads of columns.
  void (*decode)(std::size_t num_refinements, const std::uint8_t* codes, std::size_t octets, std::uint8_t* panel);
  // Of such codes. Null where panels that are decoded first serve single tokens as well.
  void (*vector)(std::size_t num_refinements, const TileVector& product);
};

// The processor must have the set.
const LatticeKernels& lattice_kernels(Isa isa);

namespace scalar {
extern const LatticeKernels kLatticeKernels;
}
namespace avx2 {
extern const LatticeKernels kLatticeKernels;
}
namespace avx512 {
extern const LatticeKernels kLatticeKernels;
}

}  // namespace nibble
