// SPDX-License-Identifier: Apache-2.0
//
// Lattice formats: eight columns of a row are one code, which names a point of a lattice (e8p_points.h); a scale for
// each row.
//
//   e8p2   2 bits a weight
//
// Planes of a [rows, cols] tensor, cols a multiple of 8:
//   codes   U8 [rows, cols / 4]   for eight columns the two bytes of their code, the lower one first
//   scales  F16 [rows]
//
// x = scale * value, rounded to f32.
#pragma once

#include "format/format.h"

namespace nibble {

// Null when the spelling (lower case) is none of a lattice.
FormatPtr make_lattice_format(std::string_view spelling);

bool is_lattice(const Format& format);

}  // namespace nibble
