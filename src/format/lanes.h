// SPDX-License-Identifier: Apache-2.0
//
// A vector of floats as wide as the instruction set that this file is compiled for, for code whose lanes never mix: the
// results are then the same bits at any width. Everything built on it stands in the namespace NIBBLE_LANES, which
// differs by width, so that kernels can compile the same templates for richer instruction sets beside the plain ones.
//
//   for (std::size_t l = 0; l < 16; l += kWidth) store(out + l, max(load(a + l), load(b + l)) * splat(2));
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

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
#if defined(__AVX512F__)
[[gnu::always_inline]] inline Vector max(Vector a, Vector b) { return _mm512_max_ps(a, b); }
[[gnu::always_inline]] inline Vector min(Vector a, Vector b) { return _mm512_min_ps(a, b); }
#elif defined(__AVX__)
[[gnu::always_inline]] inline Vector max(Vector a, Vector b) { return _mm256_max_ps(a, b); }
[[gnu::always_inline]] inline Vector min(Vector a, Vector b) { return _mm256_min_ps(a, b); }
#else
[[gnu::always_inline]] inline Vector max(Vector a, Vector b) { return a > b ? a : b; }
[[gnu::always_inline]] inline Vector min(Vector a, Vector b) { return a < b ? a : b; }
#endif
[[gnu::always_inline]] inline Vector clamp(Vector value, float low, float high) {
  return min(max(value, splat(low)), splat(high));
}
// To the nearest integer, ties to even, for magnitudes below 2^22.
// (The sign of a zero may differ between sets: no sum or comparison may show it.)
#if defined(__AVX512F__)
[[gnu::always_inline]] inline Vector round_lanes(Vector value) {
  return _mm512_roundscale_ps(value, _MM_FROUND_TO_NEAREST_INT);
}
#elif defined(__AVX__)
[[gnu::always_inline]] inline Vector round_lanes(Vector value) {
  return _mm256_round_ps(value, _MM_FROUND_TO_NEAREST_INT);
}
#else
[[gnu::always_inline]] inline Vector round_lanes(Vector value) { return (value + 12582912.F) - 12582912.F; }
#endif
// Sixteen lanes in as few vectors as that takes, held in registers: what a loop over sixteen lanes carries along.
inline constexpr std::size_t kLanes = 16;
inline constexpr std::size_t kVectors = kLanes / kWidth;
struct Lanes {
  Vector part[kVectors];

  [[gnu::always_inline]] Vector& operator[](std::size_t i) { return part[i]; }
  [[gnu::always_inline]] const Vector& operator[](std::size_t i) const { return part[i]; }
};
[[gnu::always_inline]] inline Lanes load_lanes(const float* from) {
  Lanes lanes;
  for (std::size_t i = 0; i < kVectors; ++i) lanes[i] = load(from + i * kWidth);
  return lanes;
}
[[gnu::always_inline]] inline void store(float* to, const Lanes& lanes) {
  for (std::size_t i = 0; i < kVectors; ++i) store(to + i * kWidth, lanes[i]);
}
// Lanes l and l + 8 change places.
[[gnu::always_inline]] inline Lanes swap_halves(const Lanes& lanes) {
  Lanes swapped;
#if defined(__AVX512F__)
  swapped[0] = __builtin_shufflevector(lanes[0], lanes[0], 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
#else
  for (std::size_t i = 0; i < kVectors; ++i) swapped[i] = lanes[(i + kVectors / 2) % kVectors];
#endif
  return swapped;
}
// Sixteen whole numbers 0 .. 255 as bytes.
[[gnu::always_inline]] inline void store_bytes(std::uint8_t* to, const Lanes& lanes) {
#if defined(__AVX512F__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(lanes[0])));
#elif defined(__AVX2__)
  const __m256i words = _mm256_packs_epi32(_mm256_cvttps_epi32(lanes[0]), _mm256_cvttps_epi32(lanes[1]));
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                   _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1)));
#elif defined(__x86_64__)
  const __m128i low = _mm_packs_epi32(_mm_cvttps_epi32(lanes[0]), _mm_cvttps_epi32(lanes[1]));
  const __m128i high = _mm_packs_epi32(_mm_cvttps_epi32(lanes[2]), _mm_cvttps_epi32(lanes[3]));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_packus_epi16(low, high));
#else
  for (std::size_t l = 0; l < kLanes; ++l) to[l] = static_cast<std::uint8_t>(lanes[l / kWidth][l % kWidth]);
#endif
}
// Sixteen whole numbers -128 .. 127 as signed bytes.
[[gnu::always_inline]] inline void store_bytes(std::int8_t* to, const Lanes& lanes) {
#if defined(__AVX512F__)
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(lanes[0])));
#elif defined(__AVX2__)
  const __m256i words = _mm256_packs_epi32(_mm256_cvttps_epi32(lanes[0]), _mm256_cvttps_epi32(lanes[1]));
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to),
                   _mm_packs_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1)));
#else
  for (std::size_t l = 0; l < kLanes; ++l) to[l] = static_cast<std::int8_t>(lanes[l / kWidth][l % kWidth]);
#endif
}
// The largest lane. Of zeros of both signs either.
[[gnu::always_inline]] inline float largest_lane(const Lanes& lanes) {
  using Four __attribute__((vector_size(16))) = float;
  Four part[4];
  std::memcpy(part, &lanes, sizeof(part));
  const Four low = part[0] > part[1] ? part[0] : part[1], high = part[2] > part[3] ? part[2] : part[3];
  Four most = low > high ? low : high;
  Four turned = __builtin_shufflevector(most, most, 2, 3, 0, 1);
  most = most > turned ? most : turned;
  turned = __builtin_shufflevector(most, most, 1, 0, 3, 2);
  most = most > turned ? most : turned;
  return most[0];
}
// Bit l: a[l] < b.
[[gnu::always_inline]] inline std::uint32_t lanes_below(const Lanes& a, float b) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(a[0], splat(b), _CMP_LT_OQ);
#elif defined(__AVX__)
  return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a[0], splat(b), _CMP_LT_OQ)) |
                                    _mm256_movemask_ps(_mm256_cmp_ps(a[1], splat(b), _CMP_LT_OQ)) << 8);
#else
  std::uint32_t bits = 0;
  for (std::size_t l = 0; l < kLanes; ++l) bits |= (a[l / kWidth][l % kWidth] < b ? 1u : 0u) << l;
  return bits;
#endif
}
// Bit l: a[l] == b.
[[gnu::always_inline]] inline std::uint32_t lanes_equal(const Lanes& a, float b) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(a[0], splat(b), _CMP_EQ_OQ);
#elif defined(__AVX__)
  return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a[0], splat(b), _CMP_EQ_OQ)) |
                                    _mm256_movemask_ps(_mm256_cmp_ps(a[1], splat(b), _CMP_EQ_OQ)) << 8);
#else
  std::uint32_t bits = 0;
  for (std::size_t l = 0; l < kLanes; ++l) bits |= (a[l / kWidth][l % kWidth] == b ? 1u : 0u) << l;
  return bits;
#endif
}
// The smaller of a and b where the lane's bit is set, a elsewhere.
[[gnu::always_inline]] inline Lanes min_where(std::uint32_t bits, const Lanes& a, const Lanes& b) {
  Lanes least;
#if defined(__AVX512F__)
  least[0] = _mm512_mask_min_ps(a[0], static_cast<__mmask16>(bits), b[0], a[0]);
#else
  using Integers __attribute__((vector_size(sizeof(Vector)))) = std::int32_t;
  for (std::size_t v = 0; v < kVectors; ++v) {
    Integers bit;
    for (std::size_t l = 0; l < kWidth; ++l) bit[l] = 1 << (v * kWidth + l);
    const Integers chosen = (bit & static_cast<std::int32_t>(bits)) != 0;
    least[v] = chosen ? min(b[v], a[v]) : a[v];
  }
#endif
  return least;
}
// The smallest lane. Of zeros of both signs either.
[[gnu::always_inline]] inline float smallest_lane(const Lanes& lanes) {
  Lanes negated;
  for (std::size_t v = 0; v < kVectors; ++v) negated[v] = -lanes[v];
  return -largest_lane(negated);
}
// The 4 x 4 matrix at `from` (rows `stride` apart) turned over, to rows `out_stride` apart.
[[gnu::always_inline]] inline void transpose_4x4(const float* from, std::size_t stride, float* to,
                                                 std::size_t out_stride) {
  using Four __attribute__((vector_size(16))) = float;
  Four row[4];
  for (std::size_t r = 0; r < 4; ++r) std::memcpy(&row[r], from + r * stride, sizeof(Four));
  const Four a = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5),
             b = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
  const Four c = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5),
             d = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
  const Four turned[4] = {__builtin_shufflevector(a, c, 0, 1, 4, 5), __builtin_shufflevector(a, c, 2, 3, 6, 7),
                          __builtin_shufflevector(b, d, 0, 1, 4, 5), __builtin_shufflevector(b, d, 2, 3, 6, 7)};
  for (std::size_t r = 0; r < 4; ++r) std::memcpy(to + r * out_stride, &turned[r], sizeof(Four));
}
// 1 / value, 0 where the value is 0.
[[gnu::always_inline]] inline Vector inverse_or_zero(Vector value) { return value != 0 ? 1 / value : Vector{}; }

}  // namespace nibble::inline NIBBLE_LANES
