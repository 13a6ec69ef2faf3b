// SPDX-License-Identifier: Apache-2.0
//
// Outliers whose products are made four at a time, and tokens sixteen at a time.
#include "kernels/linear/outlier_kernels.h"
#include "kernels/neon/vectors.h"

namespace nibble::neon {
namespace {

constexpr std::size_t kRows = 64;

// products[i] = addends[i] * x[columns[i]], by fours: up to three more than there are.
void multiply_outliers(const std::uint16_t* columns, const std::uint16_t* addends, std::size_t count, const float* x,
                       float* products) {
  for (std::size_t i = 0; i < count; i += 4) {
    const float32x4_t inputs = {x[columns[i]], x[columns[i + 1]], x[columns[i + 2]], x[columns[i + 3]]};
    vst1q_f32(products + i, vmulq_f32(F32::widen_f16(vld1_u16(addends + i)), inputs));
  }
}

void one_token(const OutlierRounds& outliers, const float* x, float* sums) {
  for (std::size_t row = 0; row < kRows; row += 16) F32::set(0).store(sums + row);
  const std::uint16_t *columns = outliers.columns, *addends = outliers.addends;
  alignas(16) float products[kRows];
  for (std::size_t round = 0; round < outliers.rounds; ++round) {
    const auto count = static_cast<std::size_t>(__builtin_popcountll(outliers.rows[round]));
    multiply_outliers(columns, addends, count, x, products);
    const float* next = products;
    for (std::uint64_t rows = outliers.rows[round]; rows != 0; rows &= rows - 1) sums[__builtin_ctzll(rows)] += *next++;
    columns += count;
    addends += count;
  }
  for (std::size_t first = 0; first < outliers.num_others; first += kRows) {
    const std::size_t left = outliers.num_others - first, count = left < kRows ? left : kRows;
    multiply_outliers(columns + first, addends + first, count, x, products);
    for (std::size_t i = 0; i < count; ++i) sums[outliers.others[first + i]] += products[i];
  }
}

void tokens(const OutlierRounds& outliers, const float* x, float* sums) {
  static_assert(kOutlierTokens == 16);
  for (std::size_t i = 0; i < kRows * kOutlierTokens; i += 16) F32::set(0).store(sums + i);
  const std::uint16_t *column = outliers.columns, *addend = outliers.addends;
  const auto add_one = [&](std::size_t row) {
    float* const sum = sums + kOutlierTokens * row;
    const float32x4_t weight = F32::widen_f16(vdup_n_u16(*addend++));
    add(F32::load(sum), mul({weight, weight, weight, weight}, F32::load(x + kOutlierTokens * *column++))).store(sum);
  };
  for (std::size_t round = 0; round < outliers.rounds; ++round)
    for (std::uint64_t rows = outliers.rows[round]; rows != 0; rows &= rows - 1)
      add_one(static_cast<std::size_t>(__builtin_ctzll(rows)));
  for (std::size_t i = 0; i < outliers.num_others; ++i) add_one(outliers.others[i]);
}

}  // namespace

const OutlierKernels kOutlierKernels = {one_token, tokens};

}  // namespace nibble::neon
