// SPDX-License-Identifier: Apache-2.0
//
// Dot products of four bytes by the 256-bit VPDPBUSD.
#pragma once

#include "kernels/avx2/bytes.h"

namespace nibble::avxvnni {
namespace {

struct Quad {
  __m256i v;
  static Quad load(const std::int8_t* p) {
    std::int32_t bits;
    __builtin_memcpy(&bits, p, 4);
    return {_mm256_set1_epi32(bits)};
  }
};
// The same where they are unsigned, and the line's bytes signed.
struct UnsignedQuad {
  __m256i v;
  static UnsignedQuad load(const std::uint8_t* p) {
    std::int32_t bits;
    __builtin_memcpy(&bits, p, 4);
    return {_mm256_set1_epi32(bits)};
  }
};
// The intrinsic would do, but g++ 12 gives its in-out operand two homes and spills every accumulator of a large tile in
// every step.
[[gnu::always_inline]] inline void multiply_add(__m256i& sum, __m256i from_unsigned, __m256i from_signed) {
  __asm__("%{vex%} vpdpbusd %2, %1, %0" : "+x"(sum) : "x"(from_unsigned), "x"(from_signed));
}
[[gnu::always_inline]] inline avx2::Sums dot(avx2::Sums s, avx2::Bytes w, UnsignedQuad q) {
  multiply_add(s.a, q.v, w.a);
  multiply_add(s.b, q.v, w.b);
  return s;
}
[[gnu::always_inline]] inline avx2::Sums dot(avx2::Sums s, avx2::Bytes w, Quad q) {
  multiply_add(s.a, w.a, q.v);
  multiply_add(s.b, w.b, q.v);
  return s;
}

}  // namespace

}  // namespace nibble::avxvnni
