// SPDX-License-Identifier: Apache-2.0
//
// Points of a lattice, those of four rows at a time.
#include <immintrin.h>

#include "kernels/linear/lattice_octets.h"

namespace nibble::avx2 {
namespace {

void decode(std::size_t num_refinements, const std::uint8_t* codes, std::size_t octets, std::uint8_t* panel) {
  constexpr std::size_t kRows = 64, kQuadBytes = kRows * 4;
  const OctetTables& tables = octet_tables();
  const __m256i reflection = _mm256_set1_epi8(2 * kLatticeMiddle), ones = _mm256_set1_epi8(1);
  const __m256i quads = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
  const auto word = [](std::uint64_t value) { return static_cast<long long>(value); };
  for (std::size_t octet = 0; octet < octets; ++octet, codes += octet_bytes(num_refinements), panel += 2 * kQuadBytes)
    for (std::size_t r = 0; r < kRows; r += 4) {
      const std::uint8_t* const four = codes + 2 * r;
      const __m256i points = _mm256_setr_epi64x(word(tables.points[four[1]]), word(tables.points[four[3]]),
                                                word(tables.points[four[5]]), word(tables.points[four[7]]));
      const __m256i negative = _mm256_setr_epi64x(word(tables.signs[four[0] & 127]), word(tables.signs[four[2] & 127]),
                                                  word(tables.signs[four[4] & 127]), word(tables.signs[four[6] & 127]));
      const __m256i unshifted = _mm256_blendv_epi8(points, _mm256_sub_epi8(reflection, points), negative);
      // Bit 7 of a code: -1 in place of 1.
      const __m256i low = _mm256_cvtepu16_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(four)));
      const __m256i is_below = _mm256_cmpgt_epi64(_mm256_setzero_si256(), _mm256_slli_epi64(low, 56));
      __m256i operands = _mm256_add_epi8(unshifted, _mm256_or_si256(is_below, ones));
      for (std::size_t i = 0; i < num_refinements; ++i) {
        const std::uint8_t* const finer = codes + (2 + i) * kRows + r;
        if (i != 0) operands = _mm256_add_epi8(operands, operands);
        operands = _mm256_add_epi8(
            operands, _mm256_setr_epi64x(word(tables.refinements[finer[0]]), word(tables.refinements[finer[1]]),
                                         word(tables.refinements[finer[2]]), word(tables.refinements[finer[3]])));
      }
      const __m256i parted = _mm256_permutevar8x32_epi32(operands, quads);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(panel + 4 * r), _mm256_castsi256_si128(parted));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(panel + kQuadBytes + 4 * r), _mm256_extracti128_si256(parted, 1));
    }
}

}  // namespace

const LatticeKernels kLatticeKernels = {decode, nullptr};

}  // namespace nibble::avx2
