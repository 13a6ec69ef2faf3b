// SPDX-License-Identifier: Apache-2.0
//
// Scales as they can be stored. Rounding saturates at the largest finite value, so that a huge block clips and never
// becomes infinite.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>

#include "base/half.h"

namespace nibble {

inline constexpr float kMaxF16 = 65504.0f;
inline constexpr float kMinF16 = 0x1p-24f;      // the smallest positive half, a subnormal
inline constexpr float kMinNormal = 0x1p-126f;  // the inverse of anything smaller may overflow

[[gnu::always_inline]] constexpr std::uint16_t to_f16_saturated(float value) {
  return f32_to_f16(value > kMaxF16 ? kMaxF16 : value < -kMaxF16 ? -kMaxF16 : value);
}

constexpr bool f16_is_finite(std::uint16_t h) { return (h & 0x7c00u) != 0x7c00u; }

// Between low and high, in the form that compilers turn into two vector instructions.
[[gnu::always_inline]] inline float clamp_float(float value, float low, float high) {
  value = value > low ? value : low;
  return value < high ? value : high;
}

// Rounds to the nearest integer, ties to even, in the default rounding mode; |value| < 2^22. Faster than std::nearbyint
// where the compiler may not assume SSE4.1.
[[gnu::always_inline]] inline int round_to_even(float value) {
  const float shifted = value + 12582912.0f;  // 1.5 * 2^23: the integer lands in the low mantissa bits
  return static_cast<int>(std::bit_cast<std::uint32_t>(shifted) & 0x7fffffu) - 0x400000;
}

}  // namespace nibble
