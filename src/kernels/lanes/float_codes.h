// SPDX-License-Identifier: Apache-2.0
//
// Small binary floats to f32, and their scales applied.
#pragma once

#include "kernels/linear/integer_shape.h"

namespace nibble::lanes {

// kMagnitude: bits below the sign; kMantissa: of them, behind the exponent. Moved to the exponent and mantissa of f32
// they are a number too small by a power of two, but for an exponent of 0: f32 then takes 1 + mantissa for what is
// twice the mantissa. That is twice the number less the smallest normal one, which is below the number itself there and
// nowhere else. (As subnormals of f32 they would be right at once, but some processors take a hundred times as long for
// those.)
template <int kByte, class F32, class Bytes, int kMagnitude, int kMantissa>
[[gnu::always_inline]] static inline F32 float_of_byte(Bytes quad, F32 power) {
  const F32 number = magnitude_of_byte<kByte, kMagnitude, kMantissa>(quad);
  const F32 subnormal = fma(F32::set(2), number, F32::set(-0x1p-62f));
  return mul(min(number, subnormal), with_sign_of_byte<kByte, kMagnitude>(power, quad));
}

template <class F32, class Bytes, int kMagnitude, int kMantissa>
static void widen_floats(const std::uint8_t* codes, std::size_t columns, const float* scales, std::size_t group,
                         float* out) {
  constexpr int kBias = (1 << (kMagnitude - kMantissa - 1)) - 1;
  float factor = 1;
  for (int i = kBias; i < 63; ++i) factor *= 2;
  const F32 power = F32::set(factor);
  for (std::size_t c = 0; c < columns; c += 4, codes += 256, out += 256)
    for (std::size_t v = 0; v < 64; v += 16) {
      const Bytes quad = Bytes::load(codes + 4 * v);
      const F32 scale = F32::load(scales + c / group * 64 + v);
      mul(float_of_byte<0, F32, Bytes, kMagnitude, kMantissa>(quad, power), scale).store(out + v);
      mul(float_of_byte<1, F32, Bytes, kMagnitude, kMantissa>(quad, power), scale).store(out + 64 + v);
      mul(float_of_byte<2, F32, Bytes, kMagnitude, kMantissa>(quad, power), scale).store(out + 128 + v);
      mul(float_of_byte<3, F32, Bytes, kMagnitude, kMantissa>(quad, power), scale).store(out + 192 + v);
    }
}

// The kinds of float_form.cpp.
template <class F32, class Bytes>
static void widen_float_codes(FloatCodes kind, const std::uint8_t* codes, std::size_t columns, const float* scales,
                              std::size_t group, float* out) {
  switch (kind) {
    case FloatCodes::e4m3:
      return widen_floats<F32, Bytes, 7, 3>(codes, columns, scales, group, out);
    case FloatCodes::e5m2:
      return widen_floats<F32, Bytes, 7, 2>(codes, columns, scales, group, out);
    case FloatCodes::e3m2:
      return widen_floats<F32, Bytes, 5, 2>(codes, columns, scales, group, out);
    case FloatCodes::e2m3:
      return widen_floats<F32, Bytes, 5, 3>(codes, columns, scales, group, out);
  }
}

}  // namespace nibble::lanes
