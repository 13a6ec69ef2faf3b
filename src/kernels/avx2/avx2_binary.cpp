// SPDX-License-Identifier: Apache-2.0
//
// Ones of each half byte from a table of sixteen, summed over the eight bytes of a lane (Mula, Kurz, Lemire, "Faster
// population counts using AVX2 instructions", arXiv:1611.07612).
#include <immintrin.h>

#include "kernels/avx2/parts.h"
#include "kernels/lanes/binary_product.h"

namespace nibble::avx2 {
namespace {

struct Words {
  __m256i a, b;
  static Words set(std::uint64_t x) {
    return {_mm256_set1_epi64x(static_cast<long long>(x)), _mm256_set1_epi64x(static_cast<long long>(x))};
  }
  static Words load(const std::uint64_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)),
            _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 4))};
  }
  static __m128i narrow(__m256i x) {
    return _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(x, _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6)));
  }
  void store_narrow(std::uint32_t* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow(a));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 4), narrow(b));
  }
};
inline Words add(Words x, Words y) { return {_mm256_add_epi64(x.a, y.a), _mm256_add_epi64(x.b, y.b)}; }
inline Words exclusive_or(Words x, Words y) { return {_mm256_xor_si256(x.a, y.a), _mm256_xor_si256(x.b, y.b)}; }
inline __m256i count_half(__m256i x) {
  const __m256i ones =
      _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4);
  const __m256i low = _mm256_set1_epi8(15);
  const __m256i bytes = _mm256_add_epi8(_mm256_shuffle_epi8(ones, _mm256_and_si256(x, low)),
                                        _mm256_shuffle_epi8(ones, _mm256_and_si256(_mm256_srli_epi16(x, 4), low)));
  return _mm256_sad_epu8(bytes, _mm256_setzero_si256());
}
inline Words count_ones(Words x) { return {count_half(x.a), count_half(x.b)}; }

}  // namespace

void fill_binary(KernelTable& table) { table.binary_product = lanes::binary_product<Words, 2, 1>; }

}  // namespace nibble::avx2
