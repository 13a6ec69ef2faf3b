// SPDX-License-Identifier: Apache-2.0
//
// Lattice formats: eight columns of a row are one code, which names a point of a lattice (e8p_points.h) and, by further
// bytes, one of the finer lattice around it (nested_points.h); a scale for each row.
//
//   e8p2, e8p3, e8p4   2, 3, 4 bits a weight
//
// Planes of a [rows, cols] tensor, cols a multiple of 8:
//   codes   U8 [rows, cols / 8 * b]   for eight columns the b bytes of their code, the lowest one first
//   scales  F16 [rows]
//
// x = scale * value, rounded to f32.
#pragma once

#include "format/format.h"

namespace nibble {

// Null when the spelling (lower case) is none of a lattice.
FormatPtr make_lattice_format(std::string_view spelling);

struct LatticeShape {
  std::size_t num_refinements = 0;  // bytes of a code behind the two of E8P
};

// Nothing where the format is no lattice.
std::optional<LatticeShape> lattice_shape(const Format& format);
inline bool is_lattice(const Format& format) { return lattice_shape(format).has_value(); }

}  // namespace nibble
