// SPDX-License-Identifier: Apache-2.0
//
// One row's codes and grid, laid into a resident block (integer_shape.h) and read back.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/linear/integer_form.h"

namespace nibble {

// One row's bits [first_bit, first_bit + bits) of each code into a plane. Four columns of a row are one 32-bit word;
// words of the following quads are laid into the higher bits, quad i of a line at bit positions[i].
void write_plane(const std::uint8_t* codes, std::size_t depth, int first_bit, std::size_t bits,
                 const std::size_t* positions, std::size_t row, std::uint8_t* plane);

// row: of the 64. The block is zero where this row goes.
void write_block_row(const IntegerShape& s, const BlockCodes& in, std::size_t depth, std::size_t row,
                     std::uint8_t* block);
std::uint8_t read_code(const IntegerShape& s, const std::uint8_t* block, std::size_t depth, std::size_t row,
                       std::size_t column);
// The zero point in terms of operands.
int zero_of(const IntegerShape& s, const std::uint8_t* offsets, std::size_t group, std::size_t row);

// The same for formats of units (unit_shape.h).
void write_unit_row(const UnitShape& u, std::size_t group, const BlockCodes& in, std::size_t row, std::uint8_t* block);

}  // namespace nibble
