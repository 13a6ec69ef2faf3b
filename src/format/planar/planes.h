// SPDX-License-Identifier: Apache-2.0
//
// How the planes of planar formats follow each other, and how scales, biases and points of tables lie in them.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#include "base/half.h"
#include "format/planar/spec.h"
#include "tensor/dtype.h"

namespace nibble {

// The order of planes; a format has those it needs, in this order.
inline constexpr std::size_t kCodes = 0;
inline constexpr std::size_t kScales = 1;  // or the table
inline constexpr std::size_t kBiases = 2;
inline constexpr std::size_t kNested = 2;
inline constexpr std::size_t kOffset = 3;

inline DType scale_dtype(ScaleType type) {
  switch (type) {
    case ScaleType::f32:
    case ScaleType::amax:
      return DType::f32;
    case ScaleType::f16:
      return DType::f16;
    case ScaleType::bf16:
      return DType::bf16;
    case ScaleType::e8m0:
      return DType::f8_e8m0;
    case ScaleType::s6:
    case ScaleType::s8:
    case ScaleType::dq:
      return DType::u8;
  }
  return DType::u8;
}

// Of amax: what the stored magnitude is multiplied by, in f32, for the scale.
inline constexpr float kPerMagnitude = 1 / 127.0f;

// The magnitude whose scale is nearest, which is not every number.
inline float magnitude_for(float scale) {
  const float about = scale * 127.0f;
  float best = about;
  for (const float other : {std::nextafter(about, 0.0f), std::nextafter(about, std::copysign(HUGE_VALF, about))})
    if (std::fabs(other * kPerMagnitude - scale) < std::fabs(best * kPerMagnitude - scale)) best = other;
  return best;
}

inline void write_float(float value, ScaleType type, std::byte* at) {
  switch (type) {
    case ScaleType::f32:
      std::memcpy(at, &value, 4);
      return;
    case ScaleType::amax:
      value = magnitude_for(value);
      std::memcpy(at, &value, 4);
      return;
    case ScaleType::f16:
    case ScaleType::bf16: {
      const std::uint16_t bits = type == ScaleType::f16 ? f32_to_f16(value) : f32_to_bf16(value);
      std::memcpy(at, &bits, 2);
      return;
    }
    default:
      *at = static_cast<std::byte>(std::ilogb(value) + 127);
      return;
  }
}

inline float read_float(ScaleType type, const std::byte* at) {
  float value;
  std::uint16_t bits;
  switch (type) {
    case ScaleType::f32:
      std::memcpy(&value, at, 4);
      return value;
    case ScaleType::amax:
      std::memcpy(&value, at, 4);
      return value * kPerMagnitude;
    case ScaleType::f16:
      std::memcpy(&bits, at, 2);
      return f16_to_f32(bits);
    case ScaleType::bf16:
      std::memcpy(&bits, at, 2);
      return bf16_to_f32(bits);
    default: {
      const int exponent = std::to_integer<int>(*at);
      return exponent == 255 ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, exponent - 127);
    }
  }
}

}  // namespace nibble
