// SPDX-License-Identifier: Apache-2.0
//
// Dot products of four bytes without an instruction for them. VPMADDUBSW would saturate on 8-bit operands, so bytes are
// widened to 16 bits, even and odd ones apart, and multiplied exactly.
#pragma once

#include "kernels/avx2/bytes.h"

namespace nibble::avx2 {
namespace {

struct Quad {
  __m256i even, odd;
  static Quad load(const std::int8_t* p) {
    std::int32_t bits;
    __builtin_memcpy(&bits, p, 4);
    const __m256i all = _mm256_set1_epi32(bits);
    return {_mm256_srai_epi16(_mm256_slli_epi16(all, 8), 8), _mm256_srai_epi16(all, 8)};
  }
};

// The same where they are unsigned, and the line's bytes signed.
struct UnsignedQuad {
  __m256i even, odd;
  static UnsignedQuad load(const std::uint8_t* p) {
    std::int32_t bits;
    __builtin_memcpy(&bits, p, 4);
    const __m256i all = _mm256_set1_epi32(bits);
    return {_mm256_and_si256(all, _mm256_set1_epi16(255)), _mm256_srli_epi16(all, 8)};
  }
};

inline __m256i dot_half(__m256i sum, __m256i w, Quad q) {
  const __m256i even = _mm256_madd_epi16(_mm256_and_si256(w, _mm256_set1_epi16(255)), q.even);
  const __m256i odd = _mm256_madd_epi16(_mm256_srli_epi16(w, 8), q.odd);
  return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}
inline __m256i dot_half(__m256i sum, __m256i w, UnsignedQuad q) {
  const __m256i even = _mm256_madd_epi16(_mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8), q.even);
  const __m256i odd = _mm256_madd_epi16(_mm256_srai_epi16(w, 8), q.odd);
  return _mm256_add_epi32(sum, _mm256_add_epi32(even, odd));
}
inline Sums dot(Sums s, Bytes w, UnsignedQuad q) { return {dot_half(s.a, w.a, q), dot_half(s.b, w.b, q)}; }
inline Sums dot(Sums s, Bytes w, Quad q) { return {dot_half(s.a, w.a, q), dot_half(s.b, w.b, q)}; }

}  // namespace
}  // namespace nibble::avx2
