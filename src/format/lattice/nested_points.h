// SPDX-License-Identifier: Apache-2.0
//
// E8P made finer: each further byte of a code halves the lattice, so that each is a bit a weight. Points of E8 fall
// into 256 classes, of which two points of one differ by twice a point; a byte names a class, and stands for the
// shortest of it. What several bytes name is all of a finer E8 around the points of E8P, each once (nested lattices:
// Conway and Sloane 1983, A Fast Encoding Method for Lattice Codes and Quantizers). Internal to format/ and kernels/.
//
// Points of E8 count halves here: eight even or eight odd numbers with a sum that is a multiple of 4. Shortest is what
// is nearest to an origin beside 0, from which all are counted, so that few are equally short.
//
//   0 further bytes   value = E8P's, odd
//   1                 E8P's + refinement of bits 16-23
//   2                 2 * (E8P's + that) + refinement of bits 24-31
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "format/format.h"
#include "format/lattice/e8p_points.h"

namespace nibble {

inline constexpr std::size_t kMostRefinements = 2, kRefinements = 256;
inline constexpr std::array<std::int32_t, kLatticeCols> kRefinementOrigin = {0, 0, 0, 0, 0, 1, 1, 1};
// Of refinements, and of values by the number of further bytes.
inline constexpr std::int32_t kLargestRefinement = 3;
inline constexpr std::array<std::int32_t, kMostRefinements + 1> kLargestNestedValue = {11, 14, 31};

// A point of E8, in halves.
using LatticeVector = std::array<std::int32_t, kLatticeCols>;

// What a byte adds: of every class the point nearest to the origin (of equals the first in lexicographic order), in
// lexicographic order, less the origin.
const std::array<std::array<std::int8_t, kLatticeCols>, kRefinements>& refinements();

// Where the lattice of values lies: values are these plus a point of E8 (of none further: plus two of it).
constexpr LatticeVector nested_origin(std::size_t num_refinements) {
  LatticeVector origin{};
  for (std::size_t j = 0; j < kLatticeCols; ++j)
    origin[j] = num_refinements == 0   ? 1
                : num_refinements == 1 ? 1 - kRefinementOrigin[j]
                                       : 2 - 3 * kRefinementOrigin[j];
  return origin;
}

std::array<std::int8_t, kLatticeCols> nested_values(Code code, std::size_t num_refinements);

// The code whose values are a point of E8 from the origin (1 or 2 refinements); nothing for those beyond E8P's points.
std::optional<Code> nested_code(const LatticeVector& point, std::size_t num_refinements);

}  // namespace nibble
