// SPDX-License-Identifier: Apache-2.0
//
// Outliers one by one: the reference.
#include <bit>

#include "base/half.h"
#include "kernels/linear/outlier_kernels.h"

namespace nibble::scalar {
namespace {

constexpr std::size_t kRows = 64;

void one_token(const OutlierRounds& outliers, const float* x, float* sums) {
  for (std::size_t row = 0; row < kRows; ++row) sums[row] = 0;
  std::size_t i = 0;
  const auto add = [&](std::size_t row) {
    sums[row] += f16_to_f32(outliers.addends[i]) * x[outliers.columns[i]];
    ++i;
  };
  for (std::size_t round = 0; round < outliers.rounds; ++round)
    for (std::uint64_t rows = outliers.rows[round]; rows != 0; rows &= rows - 1)
      add(static_cast<std::size_t>(std::countr_zero(rows)));
  for (std::size_t other = 0; other < outliers.num_others; ++other) add(outliers.others[other]);
}

void tokens(const OutlierRounds& outliers, const float* x, float* sums) {
  for (std::size_t i = 0; i < kRows * kOutlierTokens; ++i) sums[i] = 0;
  std::size_t i = 0;
  const auto add = [&](std::size_t row) {
    float* const sum = sums + kOutlierTokens * row;
    const float addend = f16_to_f32(outliers.addends[i]);
    const float* const inputs = x + kOutlierTokens * outliers.columns[i];
    for (std::size_t t = 0; t < kOutlierTokens; ++t) sum[t] += addend * inputs[t];
    ++i;
  };
  for (std::size_t round = 0; round < outliers.rounds; ++round)
    for (std::uint64_t rows = outliers.rows[round]; rows != 0; rows &= rows - 1)
      add(static_cast<std::size_t>(std::countr_zero(rows)));
  for (std::size_t other = 0; other < outliers.num_others; ++other) add(outliers.others[other]);
}

}  // namespace

const OutlierKernels kOutlierKernels = {one_token, tokens};

}  // namespace nibble::scalar
