// SPDX-License-Identifier: Apache-2.0
//
// Outliers of a single token (linear/outlier_kernels.h): their products, some rounds at a time, and then the sums. What
// is written has reached the cache when it is read: a product that is added at once would be waited for.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/linear/outlier_kernels.h"

namespace nibble::avx2 {
namespace {

constexpr std::size_t kOutlierBatch = 1024;  // of which products are kept: 16 rounds of 64 rows
constexpr std::size_t kReadBehind = 16;      // products, which are not used

// products[i] = addends[i] * x[columns[i]], by fours: up to three more than there are. Inputs come one by one, which is
// sooner than a gather.
inline void multiply_outliers(const std::uint16_t* columns, const std::uint16_t* addends, std::size_t count,
                              const float* x, float* products) {
  for (std::size_t i = 0; i < count; i += 4) {
    std::uint64_t four;
    std::memcpy(&four, columns + i, sizeof four);
    __m128 inputs = _mm_load_ss(x + (four & 0xffff));
    inputs = _mm_insert_ps(inputs, _mm_load_ss(x + (four >> 16 & 0xffff)), 0x10);
    inputs = _mm_insert_ps(inputs, _mm_load_ss(x + (four >> 32 & 0xffff)), 0x20);
    inputs = _mm_insert_ps(inputs, _mm_load_ss(x + (four >> 48)), 0x30);
    const __m128 weights = _mm_cvtph_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(addends + i)));
    _mm_store_ps(products + i, _mm_mul_ps(weights, inputs));
  }
}

// add_round(rows, products): those of one round, whose rows ascend. What is left: the others.
template <class AddRound>
inline OutlierRounds add_rounds(const OutlierRounds& outliers, const float* x, AddRound add_round) {
  constexpr std::size_t kMostRounds = kOutlierBatch / 64;
  alignas(64) float products[kOutlierBatch + kReadBehind];
  OutlierRounds left = outliers;
  const auto count_of = [&](std::size_t round) {
    return static_cast<std::size_t>(__builtin_popcountll(left.rows[round]));
  };
  while (left.rounds != 0) {
    const std::size_t rounds = left.rounds < kMostRounds ? left.rounds : kMostRounds;
    std::size_t count = 0;
    for (std::size_t round = 0; round < rounds; ++round) count += count_of(round);
    multiply_outliers(left.columns, left.addends, count, x, products);
    const float* next = products;
    for (std::size_t round = 0; round < rounds; ++round) {
      add_round(left.rows[round], next);
      next += count_of(round);
    }
    left.rows += rounds;
    left.rounds -= rounds;
    left.columns += count;
    left.addends += count;
  }
  return left;
}

inline void add_others(const OutlierRounds& outliers, const float* x, float* sums) {
  alignas(64) float products[kOutlierBatch];
  for (std::size_t first = 0; first < outliers.num_others; first += kOutlierBatch) {
    const std::size_t left = outliers.num_others - first, count = left < kOutlierBatch ? left : kOutlierBatch;
    multiply_outliers(outliers.columns + first, outliers.addends + first, count, x, products);
    for (std::size_t i = 0; i < count; ++i) sums[outliers.others[first + i]] += products[i];
  }
}

}  // namespace
}  // namespace nibble::avx2
