// SPDX-License-Identifier: Apache-2.0
//
// Outliers of sixteen rows or tokens at a time.
#include <immintrin.h>

#include "kernels/linear/outlier_kernels.h"

namespace nibble::avx512 {
namespace {

constexpr std::size_t kRows = 64, kLanes = 16;
static_assert(kOutlierTokens == kLanes);

void one_token(const OutlierRounds& outliers, const float* x, float* sums) {
  __m512 sum[kRows / kLanes] = {};
  const std::uint16_t *column = outliers.columns, *addend = outliers.addends;
  for (std::size_t round = 0; round < outliers.rounds; ++round)
    for (std::size_t part = 0; part < kRows / kLanes; ++part) {
      const auto rows = static_cast<__mmask16>(outliers.rows[round] >> (kLanes * part));
      const auto count = static_cast<unsigned>(__builtin_popcount(rows));
      const auto there = static_cast<__mmask16>((1u << count) - 1);
      // The part's outliers, moved to the lanes of their rows.
      const __m512i columns =
          _mm512_maskz_expand_epi32(rows, _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(there, column)));
      const __m512 weights = _mm512_maskz_expand_ps(rows, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(there, addend)));
      const __m512 inputs = _mm512_mask_i32gather_ps(_mm512_setzero_ps(), rows, columns, x, 4);
      sum[part] = _mm512_mask3_fmadd_ps(weights, inputs, sum[part], rows);
      column += count;
      addend += count;
    }
  for (std::size_t part = 0; part < kRows / kLanes; ++part) _mm512_storeu_ps(sums + kLanes * part, sum[part]);
  for (std::size_t i = 0; i < outliers.num_others; ++i) {
    float* const one = sums + outliers.others[i];
    const __m128 weight = _mm_cvtph_ps(_mm_cvtsi32_si128(addend[i]));
    _mm_store_ss(one, _mm_fmadd_ss(weight, _mm_load_ss(x + column[i]), _mm_load_ss(one)));
  }
}

void tokens(const OutlierRounds& outliers, const float* x, float* sums) {
  for (std::size_t row = 0; row < kRows; ++row) _mm512_storeu_ps(sums + kLanes * row, _mm512_setzero_ps());
  const std::uint16_t *column = outliers.columns, *addend = outliers.addends;
  const auto add = [&](std::size_t row) {
    float* const sum = sums + kLanes * row;
    const __m512 weight = _mm512_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(*addend++)));
    _mm512_storeu_ps(sum, _mm512_fmadd_ps(weight, _mm512_loadu_ps(x + kLanes * *column++), _mm512_loadu_ps(sum)));
  };
  for (std::size_t round = 0; round < outliers.rounds; ++round)
    for (std::uint64_t rows = outliers.rows[round]; rows != 0; rows &= rows - 1)
      add(static_cast<std::size_t>(__builtin_ctzll(rows)));
  for (std::size_t i = 0; i < outliers.num_others; ++i) add(outliers.others[i]);
}

}  // namespace

const OutlierKernels kOutlierKernels = {one_token, tokens};

}  // namespace nibble::avx512
