// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/lattice_octets.h"

#include <bit>

#include "format/lattice/e8p_points.h"
#include "format/lattice/nested_points.h"

namespace nibble {
namespace {

static_assert(kLargestLatticeValue < kLatticeMiddle && kLargestRefinement <= kRefinementMiddle);
static_assert(kNestedMiddles.size() == kMostRefinements + 1);

OctetTables make_tables() {
  OctetTables tables{};
  for (std::size_t r = 0; r < kLatticeRows; ++r) {
    const LatticeRow& row = lattice_rows()[r];
    for (std::size_t j = 0; j < kLatticeCols; ++j) {
      const bool is_turned = row.is_odd && j + 1 == kLatticeCols;
      const std::int64_t twice = 2 * row.magnitudes[j], point = kLatticeMiddle + (is_turned ? -twice : twice);
      tables.points[r] |= static_cast<std::uint64_t>(point) << (8 * j);
    }
  }
  for (unsigned signs = 0; signs < 128; ++signs) {
    const unsigned all = signs | (std::popcount(signs) % 2 != 0 ? 128u : 0u);
    for (std::size_t j = 0; j < kLatticeCols; ++j)
      if ((all >> j & 1u) != 0) tables.signs[signs] |= std::uint64_t{255} << (8 * j);
  }
  for (std::size_t r = 0; r < kRefinements; ++r)
    for (std::size_t j = 0; j < kLatticeCols; ++j)
      tables.refinements[r] |= static_cast<std::uint64_t>(kRefinementMiddle + refinements()[r][j]) << (8 * j);
  return tables;
}

}  // namespace

const OctetTables& octet_tables() {
  static const OctetTables tables = make_tables();
  return tables;
}

}  // namespace nibble
