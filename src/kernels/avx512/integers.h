// SPDX-License-Identifier: Apache-2.0
//
// Lines of 64 bytes in one register, VPDPBUSD.
#pragma once

#include "kernels/avx512/vectors.h"

namespace nibble::avx512 {
namespace {

struct Bytes {
  __m512i v;

  // Once, and kept: the compiler would rather load a line again for each use of it, and this set loads one line a
  // cycle.
  static Bytes load(const std::uint8_t* p) {
    Bytes x{_mm512_loadu_si512(p)};
    __asm__("" : "+v"(x.v));
    return x;
  }
  static Bytes set(std::uint8_t x) { return {_mm512_set1_epi8(static_cast<char>(x))}; }
  static Bytes table(const std::uint8_t* points) {
    return {_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(points)))};
  }
  void store(std::uint8_t* p) const { _mm512_storeu_si512(p, v); }
};

// Right, or left for negative numbers; bits cross into the neighbouring byte.
template <int kShift>
inline Bytes shift(Bytes x) {
  if constexpr (kShift > 0)
    return {_mm512_srli_epi16(x.v, kShift)};
  else if constexpr (kShift < 0)
    return {_mm512_slli_epi16(x.v, -kShift)};
  else
    return x;
}
inline void touch(Bytes x) { __asm__ volatile("" : : "v"(x.v)); }  // a load that nobody uses is still made
template <int kShift>
inline Bytes shift_and(Bytes x, Bytes mask) {
  return {_mm512_and_si512(shift<kShift>(x).v, mask.v)};
}
inline Bytes select(Bytes mask, Bytes a, Bytes b) { return {_mm512_ternarylogic_epi32(mask.v, a.v, b.v, 0xca)}; }
inline Bytes join(Bytes a, Bytes b) { return {_mm512_or_si512(a.v, b.v)}; }
// Products below 256.
inline Bytes multiply(Bytes a, Bytes b) {
  const __m512i low = _mm512_set1_epi16(255);
  const __m512i even = _mm512_mullo_epi16(_mm512_and_si512(a.v, low), _mm512_and_si512(b.v, low));
  const __m512i odd = _mm512_mullo_epi16(_mm512_srli_epi16(a.v, 8), _mm512_srli_epi16(b.v, 8));
  return {_mm512_or_si512(even, _mm512_slli_epi16(odd, 8))};
}
// Byte kByte of each dword in all four.
template <int kByte>
inline Bytes spread(Bytes x) {
  const __m128i order = _mm_add_epi8(_mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0c0c0c0c), _mm_set1_epi8(kByte));
  return {_mm512_shuffle_epi8(x.v, _mm512_broadcast_i32x4(order))};
}
inline Bytes look_up(Bytes table, Bytes index) { return {_mm512_shuffle_epi8(table.v, index.v)}; }

struct Quad {
  __m512i v;
  static Quad load(const std::int8_t* p) {
    std::int32_t bits;
    __builtin_memcpy(&bits, p, 4);
    return {_mm512_set1_epi32(bits)};
  }
};

// The same where they are unsigned, and the line's bytes signed.
struct UnsignedQuad {
  __m512i v;
  static UnsignedQuad load(const std::uint8_t* p) {
    std::int32_t bits;
    __builtin_memcpy(&bits, p, 4);
    return {_mm512_set1_epi32(bits)};
  }
};

struct Sums {
  __m512i v;
  static Sums set(std::int32_t x) { return {_mm512_set1_epi32(x)}; }
  static Sums load_bits(const float* p) { return {_mm512_loadu_si512(p)}; }
  void store_bits(float* p) const { _mm512_storeu_si512(p, v); }
};
// The intrinsic would do, but g++ 12 gives its in-out operand two homes and spills every accumulator of a large tile in
// every step.
[[gnu::always_inline]] inline Sums dot(Sums s, Bytes w, Quad q) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(s.v) : "v"(w.v), "v"(q.v));
  return s;
}
[[gnu::always_inline]] inline Sums dot(Sums s, Bytes w, UnsignedQuad q) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(s.v) : "v"(q.v), "v"(w.v));
  return s;
}
inline Sums add(Sums a, Sums b) { return {_mm512_add_epi32(a.v, b.v)}; }
template <int kShift>
inline Sums shift_left(Sums s) {
  return {_mm512_slli_epi32(s.v, kShift)};
}
inline Sums to_sums(F32 x) { return {_mm512_cvtps_epi32(x.v)}; }  // of whole numbers
inline F32 to_f32(Sums s) { return {_mm512_cvtepi32_ps(s.v)}; }

// Byte kByte of each lane; signed ones 2^24 times too large.
template <int kByte, bool kSigned>
inline F32 byte_to_f32(Bytes x) {
  constexpr int kLane = kSigned ? 0x00808080 | kByte << 24 : static_cast<int>(0x80808000u) | kByte;
  const __m128i order = _mm_add_epi8(
      _mm_set1_epi32(kLane), kSigned ? _mm_setr_epi32(0, 4 << 24, 8 << 24, 12 << 24) : _mm_setr_epi32(0, 4, 8, 12));
  return {_mm512_cvtepi32_ps(_mm512_shuffle_epi8(x.v, _mm512_broadcast_i32x4(order)))};
}

template <int kLeft>
inline __m512i moved(__m512i x) {
  if constexpr (kLeft >= 0)
    return _mm512_slli_epi32(x, kLeft);
  else
    return _mm512_srli_epi32(x, -kLeft);
}
// Byte kByte of each lane as a small float: its lowest kMagnitude bits at the end of f32's exponent field and in the
// mantissa, with 64 added to the exponent.
template <int kByte, int kMagnitude, int kMantissa>
inline F32 magnitude_of_byte(Bytes x) {
  const __m512i bits = moved<23 - kMantissa - 8 * kByte>(x.v),
                mask = _mm512_set1_epi32(((1 << kMagnitude) - 1) << (23 - kMantissa));
  return {
      _mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_set1_epi32(64 << 23), bits, mask, 0xf8))};  // a | (b & c)
}
// `power`, with bit kMagnitude of the same byte as its sign.
template <int kByte, int kMagnitude>
inline F32 with_sign_of_byte(F32 power, Bytes x) {
  const __m512i bits = moved<31 - kMagnitude - 8 * kByte>(x.v), sign = _mm512_set1_epi32(static_cast<int>(0x80000000u));
  return {_mm512_castsi512_ps(_mm512_ternarylogic_epi32(_mm512_castps_si512(power.v), bits, sign, 0xf8))};
}

// A whole number added to the bits of each lane.
inline F32 plus_bits(F32 x, std::int32_t more) {
  return {_mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(x.v), _mm512_set1_epi32(more)))};
}
inline F32 absolute(F32 x) { return {_mm512_abs_ps(x.v)}; }
inline void store_low_bytes(F32 x, std::int8_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_castps_si512(x.v)));
}
inline void store_low_bytes_part(F32 x, std::int8_t* p, std::size_t n) {
  _mm512_mask_cvtepi32_storeu_epi8(p, lanes_below(n), _mm512_castps_si512(x.v));
}
inline void store_second_bytes(F32 x, std::uint8_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_srli_epi32(_mm512_castps_si512(x.v), 8)));
}

}  // namespace
}  // namespace nibble::avx512
