// SPDX-License-Identifier: Apache-2.0
//
// Blocks of units decoded one octet at a time: the reference.
#include "kernels/scalar/parts.h"

namespace nibble::scalar {
namespace {

struct Octet {
  std::uint32_t lines;  // a byte each
  unsigned spare;       // the spare bit of the high plane
};

unsigned high_of(const UnitShape& u, const std::uint8_t* block, std::size_t run, std::size_t at) {
  if (u.high_bits == 0) return 0;
  const std::size_t per_line = 8u / u.high_bits;
  return block[high_offset(u) + run / per_line * 256 + at] >> (run % per_line * u.high_bits) &
         ((1u << u.high_bits) - 1u);
}

// at: 4 * row + octet of four.
Octet decode_octet(const UnitShape& u, const std::uint8_t* block, std::size_t four, std::size_t at,
                   std::uint8_t stored_signs) {
  Octet out{};
  const std::size_t runs = 8u / u.columns;
  for (std::size_t r = 0; r < runs; ++r) {
    const std::size_t run = four * runs + r;
    unsigned high = high_of(u, block, run, at);
    if (!has_signs(u)) {
      out.spare = high >> 3;
      high &= 7u;
    }
    if (u.spare == SpareBit::index) high = stored_signs >> 7;
    const std::size_t index = block[run * 256 + at] | high << 8;
    out.lines |= u.lines[index] << (16 * r);
  }
  return out;
}

unsigned with_parity(unsigned signs) {
  signs &= 127u;
  return signs | static_cast<unsigned>(__builtin_popcount(signs) & 1) << 7;
}

// Four octets of one row: their sixteen bytes, line by line. Returns the four spare bits.
unsigned decode_row_of_four(const UnitShape& u, const std::uint8_t* block, std::size_t four, std::size_t row,
                            std::uint8_t (&lines)[4][4]) {
  unsigned spares = 0, all_signs[4] = {};
  for (std::size_t i = 0; i < 4; ++i) {
    const std::size_t at = 4 * row + i;
    const std::uint8_t stored = has_signs(u) ? block[signs_offset(u) + four * 256 + at] : std::uint8_t{0};
    const Octet octet = decode_octet(u, block, four, at, stored);
    const unsigned spare = has_signs(u) ? static_cast<unsigned>(stored) >> 7 : octet.spare;
    spares |= spare << i;
    all_signs[i] = u.signs == UnitSigns::eight   ? stored
                   : u.signs == UnitSigns::seven ? with_parity(stored)
                   : spare != 0                  ? 255u
                                                 : 0u;
    for (std::size_t k = 0; k < 4; ++k) lines[k][i] = static_cast<std::uint8_t>(octet.lines >> (8 * k));
  }
  for (std::size_t i = 0; i < 4; ++i) {
    const unsigned signs = u.signs == UnitSigns::of_group && (spares & 8u) != 0 ? 255u
                           : u.signs == UnitSigns::of_group                     ? 0u
                                                                                : all_signs[i];
    for (std::size_t k = 0; k < 4; ++k)
      lines[k][i] = static_cast<std::uint8_t>(lines[k][i] | (signs << (3 - k) & 0x88u));
  }
  return spares;
}

// at: 4 * row + group of four; quad: of groups.
unsigned stored_scale(const UnitShape& u, const std::uint8_t* plane, std::size_t quad, std::size_t at) {
  if (scale_bits(u) == 4) return plane[quad / 2 * 256 + at] >> (quad % 2 * 4) & 15u;
  const unsigned byte = plane[at], rest = static_cast<unsigned>(plane[256 + at % 128]) >> (at / 128 * 4);
  return quad < 2 ? byte >> (3 * quad) & 7u : quad == 2 ? byte >> 6 | (rest & 8u) >> 1 : rest & 7u;
}

void expand_units(const UnitShape& u, std::size_t group, const std::uint8_t* block, std::uint8_t* out) {
  std::uint8_t *const scales = out + 128, *const codes = scales + kBlockDepth / group * 64;
  __builtin_memcpy(out, block + unit_super_offset(u), 128);
  for (std::size_t four = 0; four < kOctets / 4; ++four)
    for (std::size_t row = 0; row < 64; ++row) {
      std::uint8_t lines[4][4];
      const unsigned spares = decode_row_of_four(u, block, four, row, lines);
      for (std::size_t k = 0; k < 4; ++k)
        for (std::size_t i = 0; i < 4; ++i) {
          const std::size_t line = group == 32 ? k : i / 2 * 2 + k / 2,
                            byte = group == 32 ? i : (k % 2 ^ i / 2) * 2 + i % 2;
          codes[(four * 4 + line) * 256 + 4 * row + byte] = lines[k][i];
        }
      if (!has_scale_plane(u))
        scales[four / 4 * 256 + 4 * row + four % 4] =
            static_cast<std::uint8_t>((u.signs == UnitSigns::of_group ? spares & 7u : spares) << 1 | 1u);
    }
  if (!has_scale_plane(u)) return;
  const std::uint8_t* const plane = block + unit_scales_offset(u);
  for (std::size_t i = 0; i < kBlockDepth / group * 64; ++i)
    scales[i] = static_cast<std::uint8_t>(stored_scale(u, plane, i / 256, i % 256) << 1 | 1u);
}

}  // namespace

void fill_units(KernelTable& table) { table.expand_units = expand_units; }

}  // namespace nibble::scalar
