// SPDX-License-Identifier: Apache-2.0
//
// Lines of 64 bytes in two registers. Serves AVX2 and AVX-VNNI, which differ in their dot products only.
#pragma once

#include "kernels/avx2/vectors.h"

namespace nibble::avx2 {
namespace {

struct Bytes {
  __m256i a, b;

  static __m256i load32(const std::uint8_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); }
  static Bytes load(const std::uint8_t* p) { return {load32(p), load32(p + 32)}; }
  static Bytes set(std::uint8_t x) {
    return {_mm256_set1_epi8(static_cast<char>(x)), _mm256_set1_epi8(static_cast<char>(x))};
  }
  static Bytes table(const std::uint8_t* points) {
    const __m256i t = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(points)));
    return {t, t};
  }
  void store(std::uint8_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 32), b);
  }
};

// Right, or left for negative numbers; bits cross into the neighbouring byte.
template <int kShift>
inline Bytes shift(Bytes x) {
  if constexpr (kShift > 0)
    return {_mm256_srli_epi16(x.a, kShift), _mm256_srli_epi16(x.b, kShift)};
  else if constexpr (kShift < 0)
    return {_mm256_slli_epi16(x.a, -kShift), _mm256_slli_epi16(x.b, -kShift)};
  else
    return x;
}
inline void touch(Bytes x) { __asm__ volatile("" : : "x"(x.a), "x"(x.b)); }  // a load that nobody uses is still made
template <int kShift>
inline Bytes shift_and(Bytes x, Bytes mask) {
  const Bytes moved = shift<kShift>(x);
  return {_mm256_and_si256(moved.a, mask.a), _mm256_and_si256(moved.b, mask.b)};
}
inline __m256i select_half(__m256i mask, __m256i a, __m256i b) {
  return _mm256_or_si256(_mm256_and_si256(mask, a), _mm256_andnot_si256(mask, b));
}
inline Bytes select(Bytes mask, Bytes x, Bytes y) {
  return {select_half(mask.a, x.a, y.a), select_half(mask.b, x.b, y.b)};
}
inline Bytes join(Bytes x, Bytes y) { return {_mm256_or_si256(x.a, y.a), _mm256_or_si256(x.b, y.b)}; }
// Products below 256.
inline __m256i multiply_half(__m256i a, __m256i b) {
  const __m256i low = _mm256_set1_epi16(255);
  const __m256i even = _mm256_mullo_epi16(_mm256_and_si256(a, low), _mm256_and_si256(b, low));
  const __m256i odd = _mm256_mullo_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8));
  return _mm256_or_si256(even, _mm256_slli_epi16(odd, 8));
}
inline Bytes multiply(Bytes x, Bytes y) { return {multiply_half(x.a, y.a), multiply_half(x.b, y.b)}; }
// Byte kByte of each dword in all four.
template <int kByte>
inline Bytes spread(Bytes x) {
  const __m128i order = _mm_add_epi8(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c), _mm_set1_epi8(kByte));
  const __m256i both = _mm256_broadcastsi128_si256(order);
  return {_mm256_shuffle_epi8(x.a, both), _mm256_shuffle_epi8(x.b, both)};
}
inline Bytes look_up(Bytes table, Bytes index) {
  return {_mm256_shuffle_epi8(table.a, index.a), _mm256_shuffle_epi8(table.b, index.b)};
}

// Byte kByte of each lane; signed ones 2^24 times too large.
template <int kByte, bool kSigned>
inline F32 byte_to_f32(Bytes x) {
  constexpr int kLane = kSigned ? 0x00808080 | kByte << 24 : static_cast<int>(0x80808000u) | kByte;
  const __m128i order = _mm_add_epi8(
      _mm_set1_epi32(kLane), kSigned ? _mm_setr_epi32(0, 4 << 24, 8 << 24, 12 << 24) : _mm_setr_epi32(0, 4, 8, 12));
  const __m256i both = _mm256_broadcastsi128_si256(order);
  return {_mm256_cvtepi32_ps(_mm256_shuffle_epi8(x.a, both)), _mm256_cvtepi32_ps(_mm256_shuffle_epi8(x.b, both))};
}

template <int kLeft>
inline __m256i moved(__m256i x) {
  if constexpr (kLeft >= 0)
    return _mm256_slli_epi32(x, kLeft);
  else
    return _mm256_srli_epi32(x, -kLeft);
}
inline __m256 bits_of_half(__m256i bits, __m256i mask, __m256i others) {
  return _mm256_castsi256_ps(_mm256_or_si256(_mm256_and_si256(bits, mask), others));
}
// Byte kByte of each lane as a small float: its lowest kMagnitude bits at the end of f32's exponent field and in the
// mantissa, with 64 added to the exponent.
template <int kByte, int kMagnitude, int kMantissa>
inline F32 magnitude_of_byte(Bytes x) {
  constexpr int kLeft = 23 - kMantissa - 8 * kByte;
  const __m256i mask = _mm256_set1_epi32(((1 << kMagnitude) - 1) << (23 - kMantissa)),
                exponent = _mm256_set1_epi32(64 << 23);
  return {bits_of_half(moved<kLeft>(x.a), mask, exponent), bits_of_half(moved<kLeft>(x.b), mask, exponent)};
}
// `power`, with bit kMagnitude of the same byte as its sign.
template <int kByte, int kMagnitude>
inline F32 with_sign_of_byte(F32 power, Bytes x) {
  constexpr int kLeft = 31 - kMagnitude - 8 * kByte;
  const __m256i sign = _mm256_set1_epi32(static_cast<int>(0x80000000u));
  return {bits_of_half(moved<kLeft>(x.a), sign, _mm256_castps_si256(power.a)),
          bits_of_half(moved<kLeft>(x.b), sign, _mm256_castps_si256(power.b))};
}

// A whole number added to the bits of each lane.
inline F32 plus_bits(F32 x, std::int32_t more) {
  const __m256i all = _mm256_set1_epi32(more);
  return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x.a), all)),
          _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(x.b), all))};
}
inline F32 absolute(F32 x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b)};
}
inline void store_low_bytes(F32 x, std::int8_t* p) {
  const __m256i low = _mm256_set1_epi32(255);
  const __m256i words = _mm256_packus_epi32(_mm256_and_si256(_mm256_castps_si256(x.a), low),
                                            _mm256_and_si256(_mm256_castps_si256(x.b), low));
  const __m256i ordered = _mm256_permute4x64_epi64(words, 0xd8);  // packing works within halves
  const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(ordered), _mm256_extracti128_si256(ordered, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bytes);
}
// The first n of sixteen.
inline void store_low_bytes_part(F32 x, std::int8_t* p, std::size_t n) {
  alignas(16) std::int8_t all[16];
  store_low_bytes(x, all);
  std::size_t at = 0;
  if ((n & 8) != 0) {
    __builtin_memcpy(p, all, 8);
    at = 8;
  }
  if ((n & 4) != 0) {
    __builtin_memcpy(p + at, all + at, 4);
    at += 4;
  }
  for (; at < n; ++at) p[at] = all[at];
}
inline void store_second_bytes(F32 x, std::uint8_t* p) {
  const auto moved = [](__m256 half) { return _mm256_castsi256_ps(_mm256_srli_epi32(_mm256_castps_si256(half), 8)); };
  store_low_bytes({moved(x.a), moved(x.b)}, reinterpret_cast<std::int8_t*>(p));
}

struct Sums {
  __m256i a, b;
  static Sums set(std::int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
  static Sums load_bits(const float* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 8))};
  }
  void store_bits(float* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), b);
  }
};
inline Sums add(Sums x, Sums y) { return {_mm256_add_epi32(x.a, y.a), _mm256_add_epi32(x.b, y.b)}; }
template <int kShift>
inline Sums shift_left(Sums s) {
  return {_mm256_slli_epi32(s.a, kShift), _mm256_slli_epi32(s.b, kShift)};
}
inline Sums to_sums(F32 x) { return {_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b)}; }  // of whole numbers
inline F32 to_f32(Sums s) { return {_mm256_cvtepi32_ps(s.a), _mm256_cvtepi32_ps(s.b)}; }

}  // namespace
}  // namespace nibble::avx2
