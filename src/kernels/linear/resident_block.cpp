// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/resident_block.h"

#include <cstring>

namespace nibble {

void write_plane(const std::uint8_t* codes, std::size_t depth, int first_bit, std::size_t bits,
                 const std::size_t* positions, std::size_t row, std::uint8_t* plane) {
  const std::size_t quads_per_line = 8 / bits;
  const std::uint32_t mask = ((1u << bits) - 1u) * 0x01010101u;
  std::uint8_t* out = plane + row * 4;
  for (std::size_t quad = 0; quad < depth / 4; quad += quads_per_line, out += 256) {
    std::uint32_t line = 0;
    for (std::size_t i = 0; i < quads_per_line; ++i) {
      std::uint32_t word;
      std::memcpy(&word, codes + 4 * (quad + i), 4);
      line |= ((word >> first_bit) & mask) << positions[i];
    }
    std::memcpy(out, &line, 4);
  }
}

namespace {

void write_number(std::uint8_t* array, std::size_t index, std::size_t bytes, std::uint32_t value) {
  std::memcpy(array + index * bytes, &value, bytes);
}

void write_seven_bits(const std::uint8_t* codes, std::size_t depth, std::size_t row, std::uint8_t* plane) {
  for (std::size_t quad = 0; quad < depth / 4; quad += 8, codes += 32)
    for (std::size_t line = 0; line < kSevenBitLines; ++line, plane += 256)
      for (std::size_t i = 0; i < 4; ++i)
        plane[row * 4 + i] =
            static_cast<std::uint8_t>(codes[4 * line + i] | (codes[4 * kSevenBitLines + i] >> line & 1u) << 7);
}

// bytes: of the row and column, in the lines of eight quads.
unsigned read_seven_bits(const std::uint8_t* bytes, std::size_t quad) {
  if (quad < kSevenBitLines) return bytes[quad * 256] & 127u;
  unsigned code = 0;
  for (std::size_t line = 0; line < kSevenBitLines; ++line)
    code |= static_cast<unsigned>(bytes[line * 256] >> 7) << line;
  return code;
}

void write_codes(const IntegerShape& s, const std::uint8_t* codes, std::size_t depth, std::size_t row,
                 std::uint8_t* block) {
  if (s.low_bits == 7) return write_seven_bits(codes, depth, row, block + low_plane_offset(s, depth));
  std::size_t low[8], high[8];
  for (std::size_t i = 0; i < 8; ++i) {
    low[i] = i * s.low_bits;
    high[i] = high_bit(s, i);
  }
  write_plane(codes, depth, 0, s.low_bits, low, row, block + low_plane_offset(s, depth));
  if (s.high_bits != 0) write_plane(codes, depth, s.low_bits, s.high_bits, high, row, block + codes_offset(s, depth));
}

// Multiples of one row in planes of `bits` bits, groups in place of columns.
void write_multiples(const std::uint32_t* values, std::size_t groups, int first_bit, std::size_t bits, std::size_t row,
                     std::uint8_t* plane) {
  std::uint8_t codes[kBlockDepth] = {};  // whole lines
  for (std::size_t g = 0; g < groups; ++g) codes[g] = static_cast<std::uint8_t>(values[g]);
  const std::size_t positions[8] = {0, bits, 2 * bits, 3 * bits};
  write_plane(codes, group_plane_bytes(bits, groups) / 256 * (8 / bits) * 4, first_bit, bits, positions, row, plane);
}

void write_scales(const IntegerShape& s, const BlockCodes& in, std::size_t groups, std::size_t row,
                  std::uint8_t* scales) {
  if (has_multiples(s)) {
    const std::size_t bits = s.scale == ScaleKind::signed6 || s.scale == ScaleKind::unsigned4 ? 4 : 8;
    write_multiples(in.scales, groups, 0, bits, row, scales);
    if (s.scale == ScaleKind::signed6)
      write_multiples(in.scales, groups, 4, 2, row, scales + group_plane_bytes(4, groups));
    return;
  }
  if (scale_bytes(s.scale) == 0) return;
  for (std::size_t g = 0; g < groups; ++g) write_number(scales, g * 64 + row, scale_bytes(s.scale), in.scales[g]);
}

void write_offsets(const IntegerShape& s, const BlockCodes& in, std::size_t groups, std::size_t row,
                   std::uint8_t* offsets) {
  if (has_minima(s))
    return write_multiples(in.offsets, groups, 0, s.offset == OffsetKind::minus_unsigned4 ? 4 : 8, row, offsets);
  for (std::size_t g = 0; g < groups; ++g) {
    if (s.offset == OffsetKind::zero_packed) {
      const std::size_t bit = g * s.low_bits;
      std::uint8_t& byte = offsets[bit / 8 * 64 + row];
      byte = static_cast<std::uint8_t>(byte | in.offsets[g] << (bit % 8));
    }
    if (offset_bytes(s.offset) != 0) write_number(offsets, g * 64 + row, offset_bytes(s.offset), in.offsets[g]);
  }
}

}  // namespace

void write_block_row(const IntegerShape& s, const BlockCodes& in, std::size_t depth, std::size_t row,
                     std::uint8_t* block) {
  std::uint8_t codes[kBlockDepth];
  for (std::size_t i = 0; i < kBlockDepth; ++i) codes[i] = in.codes[i] ^ (s.signed_codes ? 128u : 0u);
  write_codes(s, codes, depth, row, block);
  for (std::size_t i = 0; i < s.super_scales; ++i) write_number(block, i * 64 + row, 2, in.super[i]);
  write_scales(s, in, num_groups(s, depth), row, block + scales_offset(s));
  write_offsets(s, in, num_groups(s, depth), row, block + offsets_offset(s, depth));
}

std::uint8_t read_code(const IntegerShape& s, const std::uint8_t* block, std::size_t depth, std::size_t row,
                       std::size_t column) {
  const std::size_t quad = column / 4;
  if (s.low_bits == 7)
    return static_cast<std::uint8_t>(read_seven_bits(
        block + low_plane_offset(s, depth) + quad / 8 * kSevenBitLines * 256 + row * 4 + column % 4, quad % 8));
  const auto line_byte = [&](const std::uint8_t* plane, std::size_t bits) {
    return plane[quad / (8 / bits) * 256 + row * 4 + column % 4];
  };
  const unsigned low = static_cast<unsigned>(line_byte(block + low_plane_offset(s, depth), s.low_bits)) >>
                           (quad % (8u / s.low_bits) * s.low_bits) &
                       ((1u << s.low_bits) - 1u);
  if (s.high_bits == 0) return static_cast<std::uint8_t>(low ^ (s.signed_codes ? 128u : 0u));
  const unsigned byte = line_byte(block + codes_offset(s, depth), s.high_bits);
  return static_cast<std::uint8_t>(low | (byte >> high_bit(s, quad % (8u / s.high_bits)) & ((1u << s.high_bits) - 1u))
                                             << s.low_bits);
}

int zero_of(const IntegerShape& s, const std::uint8_t* offsets, std::size_t group, std::size_t row) {
  if (s.offset == OffsetKind::zero8) return offsets[group * 64 + row];
  const std::size_t bit = group * s.low_bits;
  const int stored = (offsets[bit / 8 * 64 + row] >> (bit % 8)) & ((1 << s.low_bits) - 1);
  return s.low_bits == 1 ? 2 * stored : stored;
}

namespace {

// The order of units in memory: runs of four octets' units.
std::size_t unit_at(const UnitShape& u, std::size_t place) {
  if (u.columns == 8) return place;
  const std::size_t four = place / 8, odd = place / 4 % 2;
  return four * 8 + place % 4 * 2 + odd;
}

// 3-bit scales (unit_shape.h).
void write_three_bits(const std::uint32_t* scales, std::size_t row, std::uint8_t* plane) {
  for (std::size_t i = 0; i < 4; ++i) {
    const std::uint32_t q2 = scales[8 + i], rest = scales[12 + i] | q2 >> 2 << 3;
    plane[row * 4 + i] = static_cast<std::uint8_t>(scales[i] | scales[4 + i] << 3 | (q2 & 3u) << 6);
    std::uint8_t& half = plane[256 + row % 32 * 4 + i];
    half = static_cast<std::uint8_t>(half | rest << (row / 32 * 4));
  }
}

}  // namespace

void write_unit_row(const UnitShape& u, std::size_t group, const BlockCodes& in, std::size_t row, std::uint8_t* block) {
  const std::size_t num_units = units_of_block(u);
  std::uint8_t low[64], high[64], signs[kOctets];
  for (std::size_t i = 0; i < num_units; ++i) {
    const unsigned index = in.unit_indices[unit_at(u, i)];
    low[i] = static_cast<std::uint8_t>(index);
    high[i] = static_cast<std::uint8_t>(index >> 8);
    if (!has_signs(u)) {
      const unsigned spare = u.signs == UnitSigns::of_unit ? in.unit_signs[i] != 0
                             : i % 4 == 3                  ? in.unit_signs[i] != 0
                                                           : in.scales[i / 4] >> (i % 4) & 1u;
      high[i] = static_cast<std::uint8_t>(high[i] | spare << 3);
    }
  }
  for (std::size_t i = 0; i < kOctets; ++i) {
    unsigned bits = 0;
    for (std::size_t k = 0; k < 4; ++k)
      bits |= (in.unit_signs[i] >> octet_column(u, k, 0) & 1u) << k | (in.unit_signs[i] >> octet_column(u, k, 1) & 1u)
                                                                          << (k + 4);
    if (u.signs == UnitSigns::seven) bits &= 127u;
    if (u.spare == SpareBit::index) bits |= static_cast<unsigned>(high[i]) << 7;
    if (u.spare == SpareBit::scale) bits |= (in.scales[i / 4] >> (i % 4) & 1u) << 7;
    signs[i] = static_cast<std::uint8_t>(bits);
  }
  const std::size_t whole[8] = {};
  write_plane(low, num_units, 0, 8, whole, row, block);
  if (has_signs(u)) write_plane(signs, kOctets, 0, 8, whole, row, block + signs_offset(u));
  if (u.high_bits != 0) {
    std::size_t positions[8];
    for (std::size_t i = 0; i < 8; ++i) positions[i] = i * u.high_bits;
    write_plane(high, num_units, 0, u.high_bits, positions, row, block + high_offset(u));
  }
  write_number(block + unit_super_offset(u), row, 2, in.super[0]);
  if (!has_scale_plane(u)) return;
  std::uint8_t* const scales = block + unit_scales_offset(u);
  if (scale_bits(u) == 3) return write_three_bits(in.scales, row, scales);
  write_multiples(in.scales, kBlockDepth / group, 0, 4, row, scales);
}

}  // namespace nibble
