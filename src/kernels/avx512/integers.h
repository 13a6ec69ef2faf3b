// SPDX-License-Identifier: Apache-2.0
//
// Lines of 64 bytes in one register, and VPDPBUSD.
#pragma once

#include "kernels/avx512/vectors.h"

namespace nibble::avx512 {
namespace {

struct Bytes {
  __m512i v;

  static Bytes load(const std::uint8_t* p) { return {_mm512_loadu_si512(p)}; }
  static Bytes set(std::uint8_t x) { return {_mm512_set1_epi8(static_cast<char>(x))}; }
  static Bytes table(const std::uint8_t* points) { return {_mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(points)))}; }
  void store(std::uint8_t* p) const { _mm512_storeu_si512(p, v); }
};

template <int kShift>
inline Bytes shift_and(Bytes x, Bytes mask) {
  if constexpr (kShift > 0)
    return {_mm512_and_si512(_mm512_srli_epi16(x.v, kShift), mask.v)};
  else if constexpr (kShift < 0)
    return {_mm512_and_si512(_mm512_slli_epi16(x.v, -kShift), mask.v)};
  else
    return {_mm512_and_si512(x.v, mask.v)};
}
inline Bytes join(Bytes a, Bytes b) { return {_mm512_or_si512(a.v, b.v)}; }
inline Bytes look_up(Bytes table, Bytes index) { return {_mm512_shuffle_epi8(table.v, index.v)}; }

struct Quad {
  __m512i v;
  static Quad load(const std::int8_t* p) {
    std::int32_t bits;
    __builtin_memcpy(&bits, p, 4);
    return {_mm512_set1_epi32(bits)};
  }
};

struct Sums {
  __m512i v;
  static Sums set(std::int32_t x) { return {_mm512_set1_epi32(x)}; }
};
// The intrinsic would do, but g++ 12 gives its in-out operand two homes and spills every accumulator of a large tile in every step.
[[gnu::always_inline]] inline Sums dot(Sums s, Bytes w, Quad q) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(s.v) : "v"(w.v), "v"(q.v));
  return s;
}
inline F32 to_f32(Sums s) { return {_mm512_cvtepi32_ps(s.v)}; }

inline F32 absolute(F32 x) { return {_mm512_abs_ps(x.v)}; }
inline void store_low_bytes(F32 x, std::int8_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_castps_si512(x.v)));
}

}  // namespace
}  // namespace nibble::avx512
