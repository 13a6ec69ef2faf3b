// SPDX-License-Identifier: Apache-2.0
//
// From the bit planes of a block to operands, one byte each. The unit is an octet: eight quads of columns (32 columns) of 16 rows.
#pragma once

#include "kernels/integer_shape.h"

namespace nibble::lanes {

inline constexpr std::size_t kLineStride = 256;  // the lines of four 16-row groups lie side by side

// Bits [0, kBits) of quad i of a line that holds 8 / kBits quads, moved to bit kTo.
template <int kBits, int kTo, int i, class Bytes>
[[gnu::always_inline]] static inline Bytes quad_bits(Bytes line) {
  return shift_and<i * kBits - kTo>(line, Bytes::set(static_cast<std::uint8_t>(((1 << kBits) - 1) << kTo)));
}

template <int kBits, int kTo, class Bytes>
[[gnu::always_inline]] static inline void plane_octet(const std::uint8_t* lines, Bytes* out) {
  if constexpr (kBits == 8) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) out[i] = Bytes::load(lines + i * kLineStride);
  } else if constexpr (kBits == 4) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const Bytes line = Bytes::load(lines + j * kLineStride);
      out[2 * j] = quad_bits<4, kTo, 0>(line);
      out[2 * j + 1] = quad_bits<4, kTo, 1>(line);
    }
  } else if constexpr (kBits == 2) {
#pragma GCC unroll 2
    for (int j = 0; j < 2; ++j) {
      const Bytes line = Bytes::load(lines + j * kLineStride);
      out[4 * j] = quad_bits<2, kTo, 0>(line);
      out[4 * j + 1] = quad_bits<2, kTo, 1>(line);
      out[4 * j + 2] = quad_bits<2, kTo, 2>(line);
      out[4 * j + 3] = quad_bits<2, kTo, 3>(line);
    }
  } else {
    const Bytes line = Bytes::load(lines);
    out[0] = quad_bits<1, kTo, 0>(line);
    out[1] = quad_bits<1, kTo, 1>(line);
    out[2] = quad_bits<1, kTo, 2>(line);
    out[3] = quad_bits<1, kTo, 3>(line);
    out[4] = quad_bits<1, kTo, 4>(line);
    out[5] = quad_bits<1, kTo, 5>(line);
    out[6] = quad_bits<1, kTo, 6>(line);
    out[7] = quad_bits<1, kTo, 7>(line);
  }
}

// Bytes that an octet of all 64 rows takes in a plane.
static constexpr std::size_t octet_bytes(int bits) { return static_cast<std::size_t>(bits) * kLineStride; }

// kLow, kHigh: bits of the planes. 1-bit codes become 0 or 2. Formats with a table have 4-bit codes.
template <int kLow, int kHigh, bool kTable, class Bytes>
[[gnu::always_inline]] static inline void operands_of_octet(const std::uint8_t* low, const std::uint8_t* high, Bytes table, Bytes* out) {
  plane_octet<kLow, kLow == 1 ? 1 : 0>(low, out);
  if constexpr (kHigh != 0) {
    Bytes upper[8];
    plane_octet<kHigh, kLow>(high, upper);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) out[i] = join(out[i], upper[i]);
  }
  if constexpr (kTable) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) out[i] = look_up(table, out[i]);
  }
}

template <class Bytes, int kLow, int kHigh, bool kTable>
static void unpack_planes(const IntegerShape& shape, const std::uint8_t* block, std::size_t depth, std::uint8_t* panel) {
  const std::uint8_t *low = block, *high = block + low_plane_bytes(shape, depth);
  const Bytes table = Bytes::table(shape.points);
  for (std::size_t octet = 0; octet < depth / 32; ++octet) {
    for (std::size_t v = 0; v < 4; ++v) {
      Bytes out[8];
      operands_of_octet<kLow, kHigh, kTable>(low + 64 * v, high + 64 * v, table, out);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i) out[i].store(panel + i * kLineStride + 64 * v);
    }
    low += octet_bytes(kLow);
    high += octet_bytes(kHigh);
    panel += octet_bytes(8);
  }
}

// The shapes of integer_form.cpp.
template <class Bytes>
static void unpack_codes(const IntegerShape& shape, const std::uint8_t* block, std::size_t depth, std::uint8_t* panel) {
  switch (shape.low_bits * 10 + shape.high_bits) {
    case 40:
      if (shape.has_table) unpack_planes<Bytes, 4, 0, true>(shape, block, depth, panel);
      else unpack_planes<Bytes, 4, 0, false>(shape, block, depth, panel);
      break;
    case 42: unpack_planes<Bytes, 4, 2, false>(shape, block, depth, panel); break;
    case 41: unpack_planes<Bytes, 4, 1, false>(shape, block, depth, panel); break;
    case 21: unpack_planes<Bytes, 2, 1, false>(shape, block, depth, panel); break;
    case 20: unpack_planes<Bytes, 2, 0, false>(shape, block, depth, panel); break;
    case 10: unpack_planes<Bytes, 1, 0, false>(shape, block, depth, panel); break;
    default: break;
  }
}

}  // namespace nibble::lanes
