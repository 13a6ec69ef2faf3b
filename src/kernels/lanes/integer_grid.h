// SPDX-License-Identifier: Apache-2.0
//
// From a block's stored grid to what products read.
#pragma once

#include "kernels/lanes/unpack.h"
#include "kernels/linear/integer_shape.h"

namespace nibble::lanes {

// 2^(e - 127), also for e = 0.
template <class F32>
[[gnu::always_inline]] static inline F32 load_e8m0(const std::uint8_t* p) {
  // The bits of e in the exponent field are the value, except for e = 0, where that is 0 and max supplies 2^-127: all
  // others are larger.
  return max(F32::template from_bits<23>(p), F32::set(0x1p-127f));
}
// Unsigned E4M3 without infinities; the caller has turned reserved codes into 0. The bits moved to f32's exponent and
// mantissa are a number too small by 2^120, subnormals included.
template <class F32>
[[gnu::always_inline]] static inline F32 load_e4m3(const std::uint8_t* p) {
  return mul(F32::template from_bits<20>(p), F32::set(0x1p120f));
}

// Multiples of a block as bytes, [quads of groups][64 rows][4]: where they lie, or, when they take fewer bits, unpacked
// into `out`. Those of 6 bits are moved to the top of the byte, which keeps their sign and makes them 4 times too
// large.
template <class Bytes>
static const std::uint8_t* scale_multiples(const IntegerShape& shape, const std::uint8_t* block, std::size_t depth,
                                           std::uint8_t* out) {
  const std::uint8_t* const low = block + scales_offset(shape);
  if (shape.scale == ScaleKind::signed6) {
    const std::uint8_t* const high = low + group_plane_bytes(4, kMaxGroups);
    for (std::size_t v = 0; v < 256; v += 64) {
      Bytes a[4], b[4];
      plane_quads<4, 2, 4>(low + v, a);
      plane_quads<2, 6, 4>(high + v, b);
      for (std::size_t i = 0; i < 4; ++i) join(a[i], b[i]).store(out + i * kLineStride + v);
    }
    return out;
  }
  if (shape.scale != ScaleKind::unsigned4) return low;
  unpack_nibbles<Bytes>(low, group_plane_bytes(4, num_groups(shape, depth)), kLineStride, out);
  return out;
}

template <class Bytes>
static const std::uint8_t* minimum_multiples(const IntegerShape& shape, const std::uint8_t* block, std::size_t depth,
                                             std::uint8_t* out) {
  const std::uint8_t* const minima = block + offsets_offset(shape, depth);
  if (shape.offset == OffsetKind::minus_unsigned8) return minima;
  unpack_nibbles<Bytes>(minima, group_plane_bytes(4, num_groups(shape, depth)), kLineStride, out);
  return out;
}

// Operands times the multiples of their groups of 16. depth: whole quads of groups. panel: [depth / 4, 64, 4];
// multiples: [groups / 4, 64, 4].
template <class Bytes>
static void multiply_operands(const std::uint8_t* multiples, std::size_t depth, std::uint8_t* panel) {
  const auto take_group = [&](auto spread_one, const std::uint8_t* quad_of_groups) {
    for (std::size_t v = 0; v < kLineStride; v += 64) {
      const Bytes multiple = spread_one(Bytes::load(quad_of_groups + v));
      for (std::size_t line = 0; line < 4; ++line) {
        std::uint8_t* const at = panel + line * kLineStride + v;
        multiply(Bytes::load(at), multiple).store(at);
      }
    }
    panel += 4 * kLineStride;
  };
  for (std::size_t k = 0; k < depth; k += 64, multiples += kLineStride) {
    take_group([](Bytes x) { return spread<0>(x); }, multiples);
    take_group([](Bytes x) { return spread<1>(x); }, multiples);
    take_group([](Bytes x) { return spread<2>(x); }, multiples);
    take_group([](Bytes x) { return spread<3>(x); }, multiples);
  }
}

// What multiples, as byte_to_f32 gives them, are to be multiplied with beside d or the row's scale. Powers of two but
// for the shape's factor.
static constexpr float multiple_factor(const IntegerShape& shape) {
  return shape.factor * (shape.scale == ScaleKind::signed8   ? 0x1p-24f
                         : shape.scale == ScaleKind::signed6 ? 0x1p-26f
                                                             : 1.0f);
}

template <class F32>
[[gnu::always_inline]] static inline F32 super_scale(const IntegerShape& shape, const std::uint8_t* block,
                                                     const float* row_scales, std::size_t row) {
  const F32 unit = shape.scale == ScaleKind::unsigned8_of_row
                       ? F32::load(row_scales + row)
                       : F32::load_f16(reinterpret_cast<const std::uint16_t*>(block) + row);
  return mul(unit, F32::set(multiple_factor(shape)));
}
template <class F32>
[[gnu::always_inline]] static inline F32 minus_super_minimum(const std::uint8_t* block, std::size_t row) {
  return sub(F32::set(0), F32::load_f16(reinterpret_cast<const std::uint16_t*>(block) + 64 + row));
}

// Calls body with the function that loads a row's 16 scales of a group, so that loops over groups need not ask which
// one it is.
template <class F32, class Body>
[[gnu::always_inline]] static inline void with_scales(const IntegerShape& shape, const std::uint8_t* scales,
                                                      const float* row_scales, Body&& body) {
  switch (shape.scale) {
    case ScaleKind::f16:
      return body([=](std::size_t group, std::size_t row) {
        return F32::load_f16(reinterpret_cast<const std::uint16_t*>(scales) + group * 64 + row);
      });
    case ScaleKind::bf16:
      return body([=](std::size_t group, std::size_t row) {
        return F32::load_bf16(reinterpret_cast<const std::uint16_t*>(scales) + group * 64 + row);
      });
    case ScaleKind::f32:
      return body([=](std::size_t group, std::size_t row) {
        return F32::load(reinterpret_cast<const float*>(scales) + group * 64 + row);
      });
    case ScaleKind::e8m0:
      return body([=](std::size_t group, std::size_t row) { return load_e8m0<F32>(scales + group * 64 + row); });
    case ScaleKind::e4m3:
      return body([=](std::size_t group, std::size_t row) { return load_e4m3<F32>(scales + group * 64 + row); });
    case ScaleKind::nested8:
      return body([=, &shape](std::size_t group, std::size_t row) {
        return add(mul(F32::look_up(shape.scale_map, scales + group * 64 + row), F32::load(row_scales + row)),
                   F32::set(shape.scale_offset));
      });
    default:
      return body([=](std::size_t, std::size_t row) { return F32::load(row_scales + row); });
  }
}

template <class F32>
[[gnu::always_inline]] static inline F32 load_offset(const IntegerShape& shape, const std::uint8_t* offsets,
                                                     std::size_t group, std::size_t row, F32 scale) {
  const std::size_t at = group * 64 + row;
  if (shape.offset == OffsetKind::f16) return F32::load_f16(reinterpret_cast<const std::uint16_t*>(offsets) + at);
  if (shape.offset == OffsetKind::bf16) return F32::load_bf16(reinterpret_cast<const std::uint16_t*>(offsets) + at);
  if (shape.offset == OffsetKind::f32) return F32::load(reinterpret_cast<const float*>(offsets) + at);
  const F32 zero = F32::set(0);
  if (shape.offset == OffsetKind::zero8) return sub(zero, mul(scale, F32::load_u8(offsets + at)));
  const std::size_t bit = group * shape.low_bits;
  const F32 stored =
      F32::load_bits(offsets + bit / 8 * 64 + row, static_cast<unsigned>(bit % 8), (1u << shape.low_bits) - 1u);
  return sub(zero, mul(scale, shape.low_bits == 1 ? add(stored, stored) : stored));
}

// Scales that are numbers of their own, and the offsets beside them.
template <class F32>
static void expand_numbers(const IntegerShape& shape, const std::uint8_t* block, const float* row_scales,
                           std::size_t depth, ExpandedGrid& out) {
  const std::uint8_t* const offsets = block + offsets_offset(shape, depth);
  const std::size_t step = kernel_group(shape), count = (depth + step - 1) / step, steps = shape.group / step;
  with_scales<F32>(shape, block + scales_offset(shape), row_scales, [&](auto&& load) {
    const F32 factor = F32::set(shape.factor);
    for (std::size_t g = 0; g < count; ++g) {
      const std::size_t group = steps == 1 ? g : g / steps;
      for (std::size_t v = 0; v < 64; v += 16) {
        const F32 scale = mul(load(group, v), factor);
        scale.store(out.scales + g * 64 + v);
        if (shape.offset != OffsetKind::none)
          load_offset<F32>(shape, offsets, group, v, scale).store(out.offsets + g * 64 + v);
      }
    }
  });
}

template <class F32, class Bytes, bool kSigned>
static void expand_multiples(const std::uint8_t* bytes, std::size_t count, float* scales) {
  for (std::size_t quad = 0; quad < count; quad += 4)
    for (std::size_t v = 0; v < 64; v += 16) {
      const Bytes four = Bytes::load(bytes + quad / 4 * kLineStride + 4 * v);
      byte_to_f32<0, kSigned>(four).store(scales + quad * 64 + v);
      byte_to_f32<1, kSigned>(four).store(scales + quad * 64 + 64 + v);
      byte_to_f32<2, kSigned>(four).store(scales + quad * 64 + 128 + v);
      byte_to_f32<3, kSigned>(four).store(scales + quad * 64 + 192 + v);
    }
}

template <class F32, class Bytes>
static void expand_grid(const IntegerShape& shape, const std::uint8_t* block, const float* row_scales,
                        std::size_t depth, ExpandedGrid& out) {
  out.minima = has_minima(shape) ? minimum_multiples<Bytes>(shape, block, depth, out.bytes + kMaxGroups * 64) : nullptr;
  if (!has_multiples(shape)) return expand_numbers<F32>(shape, block, row_scales, depth, out);
  const std::uint8_t* const bytes = scale_multiples<Bytes>(shape, block, depth, out.bytes);
  if (shape.scale == ScaleKind::signed8 || shape.scale == ScaleKind::signed6)
    expand_multiples<F32, Bytes, true>(bytes, num_groups(shape, depth), out.scales);
  else
    expand_multiples<F32, Bytes, false>(bytes, num_groups(shape, depth), out.scales);
  if (shape.group > kActivationDepth)
    for (std::size_t r = 0; r < 64; ++r) out.scales[64 + r] = out.scales[r];
  for (std::size_t v = 0; v < 64; v += 16) {
    super_scale<F32>(shape, block, row_scales, v).store(out.super + v);
    if (has_minima(shape)) minus_super_minimum<F32>(block, v).store(out.super + 64 + v);
  }
}

}  // namespace nibble::lanes
