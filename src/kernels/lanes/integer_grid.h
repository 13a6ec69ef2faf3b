// SPDX-License-Identifier: Apache-2.0
//
// From a block's stored grid to f32 scales and offsets. Products of two-level grids are exact (11-bit d times at most 8-bit multiples);
// others round once.
#pragma once

#include "kernels/integer_shape.h"

namespace nibble::lanes {

// 2^(e - 127), also for e = 0.
template <class F32>
[[gnu::always_inline]] static inline F32 load_e8m0(const std::uint8_t* p) {
  // The bits of e in the exponent field are the value, except for e = 0, where that is 0 and max supplies 2^-127: all others are larger.
  return max(F32::template from_bits<23>(p), F32::set(0x1p-127f));
}
// Unsigned E4M3 without infinities; the caller has turned reserved codes into 0. The bits moved to f32's exponent and mantissa are a
// number too small by 2^120, subnormals included.
template <class F32>
[[gnu::always_inline]] static inline F32 load_e4m3(const std::uint8_t* p) {
  return mul(F32::template from_bits<20>(p), F32::set(0x1p120f));
}

// A sixteen-group block's 6-bit scale, less 32.
template <class F32>
[[gnu::always_inline]] static inline F32 load_six_bits(const std::uint8_t* scales, std::size_t group, std::size_t row) {
  const F32 low = F32::load_bits(scales + group / 2 * 64 + row, group % 2 * 4, 15),
            high = F32::load_bits(scales + (8 + group / 4) * 64 + row, group % 4 * 2, 3);
  return fma(high, F32::set(16), sub(low, F32::set(32)));
}

template <class F32>
[[gnu::always_inline]] static inline F32 load_scale(const IntegerShape& shape, const std::uint8_t* scales, std::size_t group, std::size_t row,
                                                    const float* row_scales) {
  const std::size_t at = group * 64 + row;
  switch (shape.scale) {
    case ScaleKind::row:
      return F32::load(row_scales + row);
    case ScaleKind::f16:
      return F32::load_f16(reinterpret_cast<const std::uint16_t*>(scales) + at);
    case ScaleKind::bf16:
      return F32::load_bf16(reinterpret_cast<const std::uint16_t*>(scales) + at);
    case ScaleKind::f32:
      return F32::load(reinterpret_cast<const float*>(scales) + at);
    case ScaleKind::e8m0:
      return load_e8m0<F32>(scales + at);
    case ScaleKind::e4m3:
      return load_e4m3<F32>(scales + at);
    case ScaleKind::signed8:
      return F32::load_i8(reinterpret_cast<const std::int8_t*>(scales) + at);
    case ScaleKind::six_bits:
      return load_six_bits<F32>(scales, group, row);
    case ScaleKind::unsigned8:
      return F32::load_u8(scales + at);
    case ScaleKind::unsigned8_of_row:
      return mul(F32::load(row_scales + row), F32::load_u8(scales + at));
    case ScaleKind::nibble_pair:
      return F32::load_low_nibbles(scales + at);
  }
  return F32::set(0);
}

template <class F32>
[[gnu::always_inline]] static inline F32 load_offset(const IntegerShape& shape, const std::uint8_t* block, const std::uint8_t* scales,
                                                     const std::uint8_t* offsets, std::size_t depth, std::size_t group, std::size_t row, F32 scale) {
  const std::size_t at = group * 64 + row;
  const F32 zero = F32::set(0);
  if (shape.offset == OffsetKind::f16) return F32::load_f16(reinterpret_cast<const std::uint16_t*>(offsets) + at);
  if (shape.offset == OffsetKind::zero8) return sub(zero, mul(scale, F32::load_u8(offsets + at)));
  if (shape.offset == OffsetKind::zero_packed) {
    const std::size_t bit = group * shape.low_bits;
    const F32 stored = F32::load_bits(offsets + bit / 8 * 64 + row, static_cast<unsigned>(bit % 8), (1u << shape.low_bits) - 1u);
    return sub(zero, mul(scale, shape.low_bits == 1 ? add(stored, stored) : stored));
  }
  const F32 unit = F32::load_f16(reinterpret_cast<const std::uint16_t*>(block + code_bytes(shape, depth)) + 64 + row);
  const F32 multiple = shape.offset == OffsetKind::minus_unsigned8 ? F32::load_u8(offsets + at) : F32::load_high_nibbles(scales + at);
  return sub(zero, mul(unit, multiple));
}

template <class F32>
static void expand_grid(const IntegerShape& shape, const std::uint8_t* block, const float* row_scales, std::size_t depth, float* scales_out,
                        float* offsets_out) {
  const std::uint8_t *scales = block + scales_offset(shape, depth), *offsets = block + offsets_offset(shape, depth);
  const std::size_t step = kernel_group(shape), count = (depth + step - 1) / step;
  for (std::size_t v = 0; v < 64; v += 16) {
    const F32 unit =
        shape.super_scales != 0 ? F32::load_f16(reinterpret_cast<const std::uint16_t*>(block + code_bytes(shape, depth)) + v) : F32::set(1.0f);
    for (std::size_t g = 0; g < count; ++g) {
      const std::size_t group = g * step / shape.group;
      F32 scale = load_scale<F32>(shape, scales, group, v, row_scales);
      if (shape.super_scales != 0) scale = mul(unit, scale);
      if (shape.factor != 1.0f) scale = mul(scale, F32::set(shape.factor));
      scale.store(scales_out + g * 64 + v);
      if (shape.offset != OffsetKind::none) load_offset<F32>(shape, block, scales, offsets, depth, group, v, scale).store(offsets_out + g * 64 + v);
    }
  }
}

}  // namespace nibble::lanes
