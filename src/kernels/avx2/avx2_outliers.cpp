// SPDX-License-Identifier: Apache-2.0
//
// Outliers whose addends the processor widens, tokens eight at a time.
#include <immintrin.h>

#include "kernels/linear/outlier_kernels.h"

namespace nibble::avx2 {
namespace {

constexpr std::size_t kRows = 64;

// Calls add(row) for every outlier in order.
template <class Add>
void each(const OutlierRounds& outliers, Add add) {
  for (std::size_t round = 0; round < outliers.rounds; ++round)
    for (std::uint64_t rows = outliers.rows[round]; rows != 0; rows &= rows - 1)
      add(static_cast<std::size_t>(__builtin_ctzll(rows)));
  for (std::size_t i = 0; i < outliers.num_others; ++i) add(outliers.others[i]);
}

void one_token(const OutlierRounds& outliers, const float* x, float* sums) {
  for (std::size_t row = 0; row < kRows; row += 8) _mm256_storeu_ps(sums + row, _mm256_setzero_ps());
  const std::uint16_t *column = outliers.columns, *addend = outliers.addends;
  each(outliers, [&](std::size_t row) {
    const __m128 weight = _mm_cvtph_ps(_mm_cvtsi32_si128(*addend++));
    _mm_store_ss(sums + row, _mm_add_ss(_mm_load_ss(sums + row), _mm_mul_ss(weight, _mm_load_ss(x + *column++))));
  });
}

void tokens(const OutlierRounds& outliers, const float* x, float* sums) {
  for (std::size_t i = 0; i < kRows * kOutlierTokens; i += 8) _mm256_storeu_ps(sums + i, _mm256_setzero_ps());
  const std::uint16_t *column = outliers.columns, *addend = outliers.addends;
  each(outliers, [&](std::size_t row) {
    float* const sum = sums + kOutlierTokens * row;
    const float* const inputs = x + kOutlierTokens * *column++;
    const __m256 weight = _mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(*addend++)));
    for (std::size_t t = 0; t < kOutlierTokens; t += 8)
      _mm256_storeu_ps(sum + t,
                       _mm256_add_ps(_mm256_loadu_ps(sum + t), _mm256_mul_ps(weight, _mm256_loadu_ps(inputs + t))));
  });
}

}  // namespace

const OutlierKernels kOutlierKernels = {one_token, tokens};

}  // namespace nibble::avx2
