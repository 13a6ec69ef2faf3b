// SPDX-License-Identifier: Apache-2.0
//
// Outliers whose products are made four at a time, and tokens eight at a time.
#include <immintrin.h>

#include "kernels/avx2/outlier_products.h"
#include "kernels/linear/outlier_kernels.h"

namespace nibble::avx2 {
namespace {

constexpr std::size_t kRows = 64;

void one_token(const OutlierRounds& outliers, const float* x, float* sums) {
  for (std::size_t row = 0; row < kRows; row += 8) _mm256_storeu_ps(sums + row, _mm256_setzero_ps());
  const OutlierRounds others = add_rounds(outliers, x, [&](std::uint64_t rows, const float* products) {
    for (; rows != 0; rows &= rows - 1) sums[__builtin_ctzll(rows)] += *products++;
  });
  add_others(others, x, sums);
}

void tokens(const OutlierRounds& outliers, const float* x, float* sums) {
  for (std::size_t i = 0; i < kRows * kOutlierTokens; i += 8) _mm256_storeu_ps(sums + i, _mm256_setzero_ps());
  const std::uint16_t *column = outliers.columns, *addend = outliers.addends;
  const auto add = [&](std::size_t row) {
    float* const sum = sums + kOutlierTokens * row;
    const float* const inputs = x + kOutlierTokens * *column++;
    const __m256 weight = _mm256_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(*addend++)));
    for (std::size_t t = 0; t < kOutlierTokens; t += 8)
      _mm256_storeu_ps(sum + t,
                       _mm256_add_ps(_mm256_loadu_ps(sum + t), _mm256_mul_ps(weight, _mm256_loadu_ps(inputs + t))));
  };
  for (std::size_t round = 0; round < outliers.rounds; ++round)
    for (std::uint64_t rows = outliers.rows[round]; rows != 0; rows &= rows - 1)
      add(static_cast<std::size_t>(__builtin_ctzll(rows)));
  for (std::size_t i = 0; i < outliers.num_others; ++i) add(outliers.others[i]);
}

}  // namespace

const OutlierKernels kOutlierKernels = {one_token, tokens};

}  // namespace nibble::avx2
