// SPDX-License-Identifier: Apache-2.0
//
// Activations rounded to bf16, as the products of pairs take them: rows of an even number of columns.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/thread_pool.h"
#include "kernels/kernel_table.h"

namespace nibble {

inline constexpr std::uint64_t kBf16Preparation = 1;  // PackedWeights::preparation

inline std::size_t bf16_stride(std::uint64_t cols) { return (static_cast<std::size_t>(cols) + 1) / 2 * 2; }

inline void round_to_bf16(const KernelTable& kernels, const float* x, std::size_t tokens, std::uint64_t cols,
                          ThreadPool& pool, std::uint16_t* out) {
  const std::size_t stride = bf16_stride(cols), count = static_cast<std::size_t>(cols);
  pool.parallel_for(tokens, 1 + 8192 / stride, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t t = begin; t < end; ++t) {
      kernels.narrow_bf16(x + t * count, count, out + t * stride);
      if (count % 2 != 0) out[t * stride + count] = 0;
    }
  });
}

}  // namespace nibble
