// SPDX-License-Identifier: Apache-2.0
//
// Formats whose codes name several columns at once (ggml's IQ1, IQ2 and IQ3): how they lie in memory, and what they are
// decoded to. They keep their indices; a block is decoded, just before it is multiplied, to a block of 4-bit codes with
// a table (integer_shape.h), whose groups' scales are bytes.
//
// A block of 64 rows x 256 columns consists of planes over units in place of columns (units of 4 columns in two runs
// for every 32 columns: first those at even places, then those at odd ones):
//
//   low       bits 0-7 of the indices
//   signs     a byte for every 8 columns
//   high      the bits of the indices from 8 up, and a spare bit
//   super     f16 d per row
//   scales    4 bits per group, where no spare bits hold them; or 3, of 16 groups: for each row, and groups 4 q + i, a
//   byte i of those of q = 0
//             (bits 0-2) and 1 (bits 3-5) and the lower bits of that of q = 2 (bits 6-7); and behind those bytes half a
//             byte of that of q = 3 (bits 0-2) and the highest bit of that of q = 2 (bit 3), the second 32 rows in the
//             upper halves
//
// Four octets of columns are decoded together, to four lines of two columns of each octet: those in the low halves of
// line k and in the high halves. Signs lie in their byte in the same order: bit k, bit k + 4.
#pragma once

#include "kernels/linear/integer_shape.h"

namespace nibble {

// eight; seven, the last one making the number of minus signs even; or none, but a bit that is the same for all columns
// of a unit or of 32 columns.
enum class UnitSigns : std::uint8_t { eight, seven, of_unit, of_group };
// What the eighth bit beside seven signs holds: bit 8 of the index; or, of four octets, the group's scale.
enum class SpareBit : std::uint8_t { none, index, scale };

struct UnitShape {
  std::uint8_t columns = 0;  // of a unit: 8 or 4; 0: the format has no units
  std::uint8_t index_bits = 8;
  std::uint8_t high_bits = 0;  // of the plane: 0, 1, 2 or 4
  UnitSigns signs = UnitSigns::eight;
  SpareBit spare = SpareBit::none;
  // [2][1 << index_bits]. Units of 8 columns: four 2-bit levels each, of columns 0 4 1 5 and 2 6 3 7. Of 4: two nibbles
  // each, of columns 0 2 and 1 3.
  const std::uint8_t* tables = nullptr;
  // [1 << index_bits]: the same as bytes of the four lines of an octet, from the lowest on; of the two of a unit of 4
  // columns.
  const std::uint32_t* lines = nullptr;
};

inline constexpr std::size_t kOctets = kBlockDepth / 8;

// Which column of an octet lies in the low (0) or high (1) half of line k.
static constexpr std::size_t octet_column(const UnitShape& u, std::size_t k, std::size_t half) {
  return u.columns == 8 ? k + 4 * half : k / 2 * 4 + k % 2 + 2 * half;
}
static constexpr bool has_signs(UnitSigns signs) { return signs == UnitSigns::eight || signs == UnitSigns::seven; }
static constexpr bool has_signs(const UnitShape& u) { return has_signs(u.signs); }
static constexpr bool has_scale_plane(UnitSigns signs, SpareBit spare) {
  return spare != SpareBit::scale && signs != UnitSigns::of_group;
}
static constexpr bool has_scale_plane(const UnitShape& u) { return has_scale_plane(u.signs, u.spare); }
static constexpr std::size_t scale_bits(const UnitShape& u) { return u.signs == UnitSigns::of_unit ? 3 : 4; }
static constexpr std::size_t units_of_block(const UnitShape& u) { return kBlockDepth / u.columns; }
static constexpr std::size_t signs_offset(const UnitShape& u) { return units_of_block(u) * 64; }
static constexpr std::size_t high_offset(const UnitShape& u) {
  return signs_offset(u) + (has_signs(u) ? kOctets * 64 : 0);
}
static constexpr std::size_t unit_super_offset(const UnitShape& u) {
  return high_offset(u) + units_of_block(u) * 64 * u.high_bits / 8;
}
static constexpr std::size_t unit_scales_offset(const UnitShape& u) { return unit_super_offset(u) + 128; }
static constexpr std::size_t unit_block_bytes(const UnitShape& u, std::size_t group) {
  return unit_scales_offset(u) + (has_scale_plane(u) ? kBlockDepth / group * 64 * scale_bits(u) / 8 : 0);
}

// The column, of 32, that stands at `place` of the decoded block.
static constexpr std::size_t unit_column(const UnitShape& u, std::size_t group, std::size_t place) {
  const std::size_t quad = place / 4, byte = place % 4, half = quad % 2;
  if (group == 32) return octet_column(u, quad / 2, half) + 8 * byte;
  const std::size_t second_half = quad / 4;  // octets 2 and 3: the columns of the second line come first
  return octet_column(u, quad % 4 / 2 * 2 + (byte / 2 ^ second_half), half) + 8 * (byte % 2) + 16 * second_half;
}

}  // namespace nibble
