// SPDX-License-Identifier: Apache-2.0
//
// From the bit planes of a block to operands, one byte each. The unit is an octet: eight quads of columns (32 columns)
// of 16 rows.
#pragma once

#include "kernels/linear/integer_shape.h"

namespace nibble::lanes {

inline constexpr std::size_t kLineStride = 256;  // the lines of four 16-row groups lie side by side

// shift_and, without the mask where shifting leaves nothing else of a byte: vectors that shift words move bits into it.
template <int kShift, unsigned kMask, class Bytes>
[[gnu::always_inline]] static inline Bytes take_bits(Bytes line) {
  constexpr unsigned kLeft = 255u >> (kShift > 0 ? kShift : 0);
  if constexpr (kShift > 0 && kMask == kLeft && requires { Bytes::kShiftsBytes; })
    return shift<kShift>(line);
  else
    return shift_and<kShift>(line, Bytes::set(static_cast<std::uint8_t>(kMask)));
}

// Bits [0, kBits) of quad i of a line that holds 8 / kBits quads, moved to bit kTo.
template <int kBits, int kTo, int i, class Bytes>
[[gnu::always_inline]] static inline Bytes quad_bits(Bytes line) {
  return take_bits<i * kBits - kTo, ((1u << kBits) - 1u) << kTo>(line);
}

// All quads of one line.
template <int kBits, int kTo, class Bytes>
[[gnu::always_inline]] static inline void line_quads(Bytes line, Bytes* out) {
  if constexpr (kBits == 8) {
    out[0] = line;
  } else {
    out[0] = quad_bits<kBits, kTo, 0>(line);
    out[1] = quad_bits<kBits, kTo, 1>(line);
    if constexpr (kBits <= 2) {
      out[2] = quad_bits<kBits, kTo, 2>(line);
      out[3] = quad_bits<kBits, kTo, 3>(line);
    }
    if constexpr (kBits == 1) {
      out[4] = quad_bits<kBits, kTo, 4>(line);
      out[5] = quad_bits<kBits, kTo, 5>(line);
      out[6] = quad_bits<kBits, kTo, 6>(line);
      out[7] = quad_bits<kBits, kTo, 7>(line);
    }
  }
}

template <int kBits, int kTo, int kQuads, class Bytes>
[[gnu::always_inline]] static inline void plane_quads(const std::uint8_t* lines, Bytes* out) {
#pragma GCC unroll 8
  for (int j = 0; j < kQuads * kBits / 8; ++j)
    line_quads<kBits, kTo>(Bytes::load(lines + j * kLineStride), out + j * (8 / kBits));
}

// Bytes that an octet of all 64 rows takes in a plane.
static constexpr std::size_t octet_bytes(int bits) { return static_cast<std::size_t>(bits) * kLineStride; }

// Quads whose bits fill whole lines of both planes.
static constexpr int whole_lines(int low, int high) {
  return low == 7 ? 8 : high != 0 && low > high ? 8 / high : 8 / low;
}

// Quads of 3-bit codes: first two of them are put together in each byte. The order of the bits in the high plane
// (high_bit in integer_shape.h) is such that this takes few shifts.
template <class Bytes>
[[gnu::always_inline]] static inline void quads_of_3_bits(const std::uint8_t* low, const std::uint8_t* high,
                                                          Bytes* out) {
  const Bytes top = Bytes::set(0x44), code = Bytes::set(7);
  const Bytes a = Bytes::load(low), b = Bytes::load(low + kLineStride), h = Bytes::load(high);
  const Bytes pairs[4] = {select(top, h, a), select(top, shift<1>(h), shift<2>(a)), select(top, shift<-1>(h), b),
                          select(top, shift<-2>(h), shift<2>(b))};
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    out[i / 2 * 4 + i % 2] = shift_and<0>(pairs[i], code);
    out[i / 2 * 4 + i % 2 + 2] = shift_and<4>(pairs[i], code);
  }
}

// Four quads of 6-bit codes.
template <class Bytes>
[[gnu::always_inline]] static inline void quads_of_6_bits(const std::uint8_t* low, const std::uint8_t* high,
                                                          Bytes* out) {
  const Bytes top = Bytes::set(0x30), code = Bytes::set(63);
  const Bytes a = Bytes::load(low), b = Bytes::load(low + kLineStride), h = Bytes::load(high);
  out[0] = shift_and<0>(select(top, shift<-4>(h), a), code);
  out[1] = shift_and<0>(select(top, shift<-2>(h), shift<4>(a)), code);
  out[2] = shift_and<0>(select(top, h, b), code);
  out[3] = shift_and<0>(select(top, shift<2>(h), shift<4>(b)), code);
}

// Quad kLine of 7-bit codes, and the bit that its line has of the last one.
template <int kLine, class Bytes>
[[gnu::always_inline]] static inline void quad_of_7_bits(const std::uint8_t* lines, Bytes* out) {
  const Bytes line = Bytes::load(lines + kLine * kLineStride);
  out[kLine] = shift_and<0>(line, Bytes::set(127));
  if constexpr (kLine == 0)
    out[7] = take_bits<7, 1>(line);
  else
    out[7] = select(Bytes::set(1 << kLine), shift<7 - kLine>(line), out[7]);
  if constexpr (kLine + 1 < static_cast<int>(kSevenBitLines)) quad_of_7_bits<kLine + 1>(lines, out);
}

// kLow, kHigh: bits of the planes. kQuads: a multiple of whole_lines. 1-bit codes become 0 or 2. Formats with a table
// have codes of 2 to 4 bits.
template <int kLow, int kHigh, bool kTable, int kQuads, class Bytes>
[[gnu::always_inline]] static inline void operands_of_quads(const std::uint8_t* low, const std::uint8_t* high,
                                                            Bytes table, Bytes* out) {
  if constexpr (kLow == 7) {
    quad_of_7_bits<0>(low, out);
  } else if constexpr (kLow == 2 && kHigh == 1) {
    quads_of_3_bits(low, high, out);
    if constexpr (kTable) {
#pragma GCC unroll 8
      for (int i = 0; i < kQuads; ++i) out[i] = look_up(table, out[i]);
    }
  } else if constexpr (kLow == 4 && kHigh == 2) {
#pragma GCC unroll 2
    for (int i = 0; i < kQuads; i += 4) quads_of_6_bits(low + i / 2 * kLineStride, high + i / 4 * kLineStride, out + i);
  } else {
    plane_quads<kLow, kLow == 1 ? 1 : 0, kQuads>(low, out);
    if constexpr (kHigh != 0) {
      Bytes upper[kQuads];
      plane_quads<kHigh, kLow, kQuads>(high, upper);
#pragma GCC unroll 8
      for (int i = 0; i < kQuads; ++i) out[i] = join(out[i], upper[i]);
    }
    if constexpr (kTable) {
#pragma GCC unroll 8
      for (int i = 0; i < kQuads; ++i) out[i] = look_up(table, out[i]);
    }
  }
}

// A plane of nibbles as bytes: the low ones of each `stride` bytes, then the high ones.
template <class Bytes>
static void unpack_nibbles(const std::uint8_t* plane, std::size_t plane_bytes, std::size_t stride, std::uint8_t* out) {
  for (std::size_t line = 0; line < plane_bytes; line += stride, out += 2 * stride)
    for (std::size_t v = 0; v < stride; v += 64) {
      Bytes quads[2];
      plane_quads<4, 0, 2>(plane + line + v, quads);
      quads[0].store(out + v);
      quads[1].store(out + stride + v);
    }
}

template <class Bytes, int kLow, int kHigh, bool kTable>
static void unpack_planes(const IntegerShape& shape, const std::uint8_t* block, std::size_t depth,
                          std::uint8_t* panel) {
  const std::uint8_t *low = block + low_plane_offset(shape, depth), *high = block + codes_offset(shape, depth);
  const Bytes table = Bytes::table(shape.points);
  for (std::size_t octet = 0; octet < depth / 32; ++octet) {
    for (std::size_t v = 0; v < 4; ++v) {
      Bytes out[8];
      operands_of_quads<kLow, kHigh, kTable, 8>(low + 64 * v, high + 64 * v, table, out);
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
    case 70:
      unpack_planes<Bytes, 7, 0, false>(shape, block, depth, panel);
      break;
    case 40:
      if (shape.has_table)
        unpack_planes<Bytes, 4, 0, true>(shape, block, depth, panel);
      else
        unpack_planes<Bytes, 4, 0, false>(shape, block, depth, panel);
      break;
    case 42:
      unpack_planes<Bytes, 4, 2, false>(shape, block, depth, panel);
      break;
    case 41:
      unpack_planes<Bytes, 4, 1, false>(shape, block, depth, panel);
      break;
    case 21:
      if (shape.has_table)
        unpack_planes<Bytes, 2, 1, true>(shape, block, depth, panel);
      else
        unpack_planes<Bytes, 2, 1, false>(shape, block, depth, panel);
      break;
    case 20:
      if (shape.has_table)
        unpack_planes<Bytes, 2, 0, true>(shape, block, depth, panel);
      else
        unpack_planes<Bytes, 2, 0, false>(shape, block, depth, panel);
      break;
    case 10:
      unpack_planes<Bytes, 1, 0, false>(shape, block, depth, panel);
      break;
    default:
      break;
  }
}

}  // namespace nibble::lanes
