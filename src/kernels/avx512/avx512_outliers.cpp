// SPDX-License-Identifier: Apache-2.0
//
// Outliers of sixteen rows or tokens at a time.
#include <immintrin.h>

#include "kernels/avx2/outlier_products.h"
#include "kernels/linear/outlier_kernels.h"

namespace nibble::avx512 {
namespace {

constexpr std::size_t kRows = 64, kLanes = 16;
static_assert(kOutlierTokens == kLanes);

// Products of a round in the order of its rows, which are then moved to their lanes.
void one_token(const OutlierRounds& outliers, const float* x, float* sums) {
  __m512 sum[kRows / kLanes] = {};
  const OutlierRounds others = avx2::add_rounds(outliers, x, [&](std::uint64_t rows, const float* products) {
    for (std::size_t part = 0; part < kRows / kLanes; ++part) {
      const auto own = static_cast<__mmask16>(rows >> (kLanes * part));
      sum[part] = _mm512_mask_add_ps(sum[part], own, sum[part], _mm512_maskz_expand_ps(own, _mm512_loadu_ps(products)));
      products += __builtin_popcount(own);
    }
  });
  for (std::size_t part = 0; part < kRows / kLanes; ++part) _mm512_storeu_ps(sums + kLanes * part, sum[part]);
  avx2::add_others(others, x, sums);
}

void tokens(const OutlierRounds& outliers, const float* x, float* sums) {
  for (std::size_t row = 0; row < kRows; ++row) _mm512_storeu_ps(sums + kLanes * row, _mm512_setzero_ps());
  const std::uint16_t *column = outliers.columns, *addend = outliers.addends;
  const auto add = [&](std::size_t row) {
    float* const sum = sums + kLanes * row;
    const __m512 weight = _mm512_broadcastss_ps(_mm_cvtph_ps(_mm_cvtsi32_si128(*addend++)));
    _mm512_storeu_ps(
        sum, _mm512_add_ps(_mm512_loadu_ps(sum), _mm512_mul_ps(weight, _mm512_loadu_ps(x + kLanes * *column++))));
  };
  for (std::size_t round = 0; round < outliers.rounds; ++round)
    for (std::uint64_t rows = outliers.rows[round]; rows != 0; rows &= rows - 1)
      add(static_cast<std::size_t>(__builtin_ctzll(rows)));
  for (std::size_t i = 0; i < outliers.num_others; ++i) add(outliers.others[i]);
}

}  // namespace

const OutlierKernels kOutlierKernels = {one_token, tokens};

}  // namespace nibble::avx512
