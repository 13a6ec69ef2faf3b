// SPDX-License-Identifier: Apache-2.0
//
// Trellis formats: tiles of 64 rows x 4 columns whose symbols share bits with their neighbours (path_search.h), and a
// scale for each row.
//
//   trellis2:l8    2 bits a weight, windows of 8 bits, a table of 256 values
//   trellis3:l12   3 bits, windows of 12 bits, values computed
//
// Planes of a [rows, cols] tensor, cols a multiple of 4:
//   codes   U8 [ceil(rows / 64), cols * 8 * bits]   for 64 rows one tile after another, each of 32 * bits bytes
//   scales  F16 [rows]
//
// A tile is a string of bits, the least significant of each byte first. Its symbols follow each other along a row's
// four columns and then row by row; symbol i is the window that begins at bit i * bits, in a ring: behind the last bit
// comes the first. x = scale * value(window), rounded to f32. Rows that a last tile has beyond the tensor's are coded
// as the others' bits fall best, and read by nobody.
#pragma once

#include "format/format.h"
#include "format/trellis/path_steps.h"
#include "format/trellis/trellis_shape.h"

namespace nibble {

// Null when the spelling (lower case) does not begin like one; Error(invalid_argument) when it does and is wrong after
// that.
FormatPtr make_trellis_format(std::string_view spelling);

// With the search's steps of an instruction set: the same codes.
FormatPtr make_trellis_format(const TrellisShape& shape, const PathSteps& steps);

// Null when the format is none.
const TrellisShape* trellis_shape(const Format& format);

}  // namespace nibble
