// SPDX-License-Identifier: Apache-2.0
//
// Points of a lattice, those of eight rows at a time: the low bytes of their codes, with the last column's sign in
// place of the shift, are the mask of what is negative.
#include <immintrin.h>

#include "kernels/linear/lattice_octets.h"

namespace nibble::avx512 {
namespace {

constexpr std::size_t kRows = 64;

struct LowBytes {
  alignas(32) std::uint64_t signs[kRows / 8];
  std::uint32_t shifts[kRows / 32];  // a bit a row
};

// Of 32 rows: bit 7 becomes the parity of the bits below.
void part_low_bytes(const std::uint8_t* codes, std::uint64_t* signs, std::uint32_t* shifts) {
  const __m256i low = _mm512_cvtepi16_epi8(_mm512_loadu_si512(codes));
  const __m256i odd = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, -128, -128, 0, -128, 0, 0, -128, -128, 0, 0, -128, 0, -128, -128, 0));
  const __m256i nibble = _mm256_set1_epi8(15);
  const __m256i seven = _mm256_and_si256(low, _mm256_set1_epi8(127));
  const __m256i parity =
      _mm256_xor_si256(_mm256_shuffle_epi8(odd, _mm256_and_si256(seven, nibble)),
                       _mm256_shuffle_epi8(odd, _mm256_and_si256(_mm256_srli_epi16(seven, 4), nibble)));
  _mm256_store_si256(reinterpret_cast<__m256i*>(signs), _mm256_or_si256(seven, parity));
  *shifts = _mm256_movepi8_mask(low);
}

}  // namespace

void decode_octets(const std::uint8_t* codes, std::size_t octets, std::uint8_t* panel) {
  constexpr std::size_t kQuadBytes = kRows * 4;
  const std::uint64_t* const points = octet_tables().points;
  const __m512i reflection = _mm512_set1_epi8(2 * kLatticeMiddle), up = _mm512_set1_epi8(1),
                down = _mm512_set1_epi8(-1);
  const __m512i lower = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i upper = _mm512_add_epi32(lower, _mm512_set1_epi32(1));
  const auto word = [points](std::uint8_t row) { return static_cast<long long>(points[row]); };
  for (std::size_t octet = 0; octet < octets; ++octet, codes += 2 * kRows, panel += 2 * kQuadBytes) {
    LowBytes low;
    for (std::size_t half = 0; half < 2; ++half)
      part_low_bytes(codes + kRows * half, low.signs + 4 * half, low.shifts + half);
    const auto operands = [&](std::size_t eight) {
      const std::uint8_t* const high = codes + 16 * eight + 1;
      const __m512i point = _mm512_setr_epi64(word(high[0]), word(high[2]), word(high[4]), word(high[6]), word(high[8]),
                                              word(high[10]), word(high[12]), word(high[14]));
      const auto is_below = static_cast<__mmask8>(low.shifts[eight / 4] >> (8 * (eight % 4)));
      return _mm512_add_epi8(_mm512_mask_sub_epi8(point, low.signs[eight], reflection, point),
                             _mm512_mask_blend_epi64(is_below, up, down));
    };
    for (std::size_t eight = 0; eight < kRows / 8; eight += 2) {
      const __m512i first = operands(eight), second = operands(eight + 1);
      _mm512_storeu_si512(panel + 32 * eight, _mm512_permutex2var_epi32(first, lower, second));
      _mm512_storeu_si512(panel + kQuadBytes + 32 * eight, _mm512_permutex2var_epi32(first, upper, second));
    }
  }
}

}  // namespace nibble::avx512
