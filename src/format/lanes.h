// SPDX-License-Identifier: Apache-2.0
//
// A vector of floats as wide as the instruction set that this file is compiled for, for code whose lanes never mix: the results are then
// the same bits at any width. Everything built on it stands in the namespace NIBBLE_LANES, which differs by width, so that kernels can
// compile the same templates for richer instruction sets beside the plain ones.
//
//   for (std::size_t l = 0; l < 16; l += kWidth) store(out + l, max(load(a + l), load(b + l)) * splat(2));
#pragma once

#include <cstddef>
#include <cstring>

#if defined(__AVX512F__)
#define NIBBLE_LANES lanes_16
#elif defined(__AVX__)
#define NIBBLE_LANES lanes_8
#else
#define NIBBLE_LANES lanes_4
#endif

namespace nibble::inline NIBBLE_LANES {

#if defined(__AVX512F__)
inline constexpr std::size_t kWidth = 16;
#elif defined(__AVX__)
inline constexpr std::size_t kWidth = 8;
#else
inline constexpr std::size_t kWidth = 4;
#endif

using Vector __attribute__((vector_size(kWidth * sizeof(float)))) = float;

[[gnu::always_inline]] inline Vector load(const float* from) {
  Vector vector;
  std::memcpy(&vector, from, sizeof(vector));
  return vector;
}
[[gnu::always_inline]] inline void store(float* to, Vector vector) { std::memcpy(to, &vector, sizeof(vector)); }
[[gnu::always_inline]] inline Vector splat(float value) { return value - Vector{}; }
// The second operand where either is NaN, as the instructions do.
[[gnu::always_inline]] inline Vector max(Vector a, Vector b) { return a > b ? a : b; }
[[gnu::always_inline]] inline Vector min(Vector a, Vector b) { return a < b ? a : b; }
[[gnu::always_inline]] inline Vector clamp(Vector value, float low, float high) { return min(max(value, splat(low)), splat(high)); }
// To the nearest integer, ties to even, for magnitudes below 2^22.
[[gnu::always_inline]] inline Vector round_lanes(Vector value) { return (value + 12582912.F) - 12582912.F; }
// 1 / value, 0 where the value is 0.
[[gnu::always_inline]] inline Vector inverse_or_zero(Vector value) { return value != 0 ? 1 / value : Vector{}; }

}  // namespace nibble::inline NIBBLE_LANES
