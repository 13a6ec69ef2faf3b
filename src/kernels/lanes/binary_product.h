// SPDX-License-Identifier: Apache-2.0
//
// Products of signs: how many bits differ. Panels hold 32 rows side by side, [words, 32]. Integers, so any order gives
// the same numbers.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernel_table.h"

namespace nibble::lanes {

// One register tile of MR tokens by NV vectors of eight rows. Words: eight 64-bit lanes.
template <class Words, int MR, int NV>
[[gnu::noinline]] static void binary_tile(const std::uint64_t* panel, std::size_t words, const std::uint64_t* x,
                                          std::size_t x_stride, std::uint32_t* y, std::size_t y_stride) {
  Words sum[MR][NV];
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) sum[m][n] = Words::set(0);
  for (std::size_t k = 0; k < words; ++k) {
    Words w[NV];
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) w[n] = Words::load(panel + 8 * n);
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      const Words value = Words::set(x[m * x_stride + k]);
#pragma GCC unroll 4
      for (int n = 0; n < NV; ++n) sum[m][n] = add(sum[m][n], count_ones(exclusive_or(value, w[n])));
    }
    panel += kBinaryRows;
  }
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) sum[m][n].store_narrow(y + m * y_stride + 8 * n);
}

template <class Words, int MR, int NV>
static void binary_product(const std::uint64_t* panel, std::size_t words, const std::uint64_t* x, std::size_t x_stride,
                           std::size_t tokens, std::uint32_t* y, std::size_t y_stride) {
  for (std::size_t n = 0; n < kBinaryRows; n += 8 * NV) {
    std::size_t t = 0;
    for (; t + MR <= tokens; t += MR)
      binary_tile<Words, MR, NV>(panel + n, words, x + t * x_stride, x_stride, y + t * y_stride + n, y_stride);
    for (; t < tokens; ++t)
      binary_tile<Words, 1, NV>(panel + n, words, x + t * x_stride, x_stride, y + t * y_stride + n, y_stride);
  }
}

}  // namespace nibble::lanes
