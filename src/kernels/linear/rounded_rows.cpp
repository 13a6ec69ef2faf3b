// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/rounded_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/dense/dense_tiles.h"

namespace nibble {
namespace {

constexpr float kLargest = 127;
constexpr float kSmallestPeak = 1e-30f;  // smaller ones would overflow the inverse, and mean nothing
constexpr std::size_t kColumns = 128;    // of a task
constexpr float kIntegerAdder =
    12582912;  // 1.5 * 2^23: what is added to it is rounded to an integer, ties to even, in its lowest bits

constexpr float kZeros[kColumns] = {};

std::uint32_t rounded(float x) { return std::bit_cast<std::uint32_t>(x + kIntegerAdder) & 0xffu; }

}  // namespace

void RoundedRows::assign(const float* x, std::size_t rows, std::size_t cols, ThreadPool& pool) {
  quads_ = (rows + 3) / 4;
  cols_ = cols;
  data_.resize(quads_ * cols);
  scales_.assign((cols + dense::kWidth - 1) / dense::kWidth * dense::kWidth, 0.0f);
  pool.parallel_for(cols, kColumns, [&](std::size_t begin, std::size_t end, std::size_t) {
    const std::size_t count = end - begin;
    float inverse[kColumns] = {};
    for (std::size_t t = 0; t < rows; ++t)
      for (std::size_t i = 0; i < count; ++i) inverse[i] = std::max(inverse[i], std::fabs(x[t * cols + begin + i]));
    for (std::size_t i = 0; i < count; ++i) {
      const float peak = inverse[i] < kSmallestPeak ? 0 : inverse[i];
      scales_[begin + i] = peak / kLargest;
      inverse[i] = peak == 0 ? 0 : kLargest / peak;
    }
    for (std::size_t t = 0; t < rows; t += 4) {
      const float* row[4];
      for (std::size_t r = 0; r < 4; ++r) row[r] = t + r < rows ? x + (t + r) * cols + begin : kZeros;
      std::int32_t* const out = &data_[t / 4 * cols + begin];
      for (std::size_t i = 0; i < count; ++i)
        out[i] =
            static_cast<std::int32_t>(rounded(row[0][i] * inverse[i]) | rounded(row[1][i] * inverse[i]) << 8 |
                                      rounded(row[2][i] * inverse[i]) << 16 | rounded(row[3][i] * inverse[i]) << 24);
    }
  });
}

}  // namespace nibble
