// SPDX-License-Identifier: Apache-2.0
#include "kernels/rounded_rows.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/dense_tiles.h"

namespace nibble {
namespace {

constexpr float kLargest = 2047;            // squares of 512 such numbers sum up to less than 2^31
constexpr float kSmallestPeak = 1e-30f;     // smaller ones would overflow the inverse, and mean nothing
constexpr std::size_t kColumns = 128;       // of a task
constexpr float kIntegerAdder = 12582912;   // 1.5 * 2^23: what is added to it is rounded to an integer, ties to even, in its lowest bits

std::uint32_t rounded(float x) { return std::bit_cast<std::uint32_t>(x + kIntegerAdder) & 0xffffu; }

}  // namespace

void RoundedRows::assign(const float* x, std::size_t rows, std::size_t cols, ThreadPool& pool) {
  pairs_ = (rows + 1) / 2;
  cols_ = cols;
  data_.resize(pairs_ * cols);
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
    for (std::size_t t = 0; t < rows; t += 2) {
      const float *const first = x + t * cols + begin, *const second = t + 1 < rows ? first + cols : nullptr;
      std::int32_t* const out = &data_[t / 2 * cols + begin];
      if (second == nullptr)
        for (std::size_t i = 0; i < count; ++i) out[i] = static_cast<std::int32_t>(rounded(first[i] * inverse[i]));
      else
        for (std::size_t i = 0; i < count; ++i)
          out[i] = static_cast<std::int32_t>(rounded(first[i] * inverse[i]) | rounded(second[i] * inverse[i]) << 16);
    }
  });
}

}  // namespace nibble
