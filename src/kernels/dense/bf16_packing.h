// SPDX-License-Identifier: Apache-2.0
//
// How factors are rounded to bf16 and laid out for products of pairs, by one instruction set. Rounding is to nearest,
// ties to even; subnormals become zero. What is beyond the numbers becomes zero, too. Functions neither throw, allocate
// nor print.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nibble {

struct Bf16Packing {
  // Rows of the left factor, `depth` numbers each; out: [rows, out_stride], of which the even depth is written. From
  // [rows, depth], rows `stride` apart ...
  void (*left)(const float* in, std::size_t stride, std::size_t rows, std::size_t depth, std::uint16_t* out,
               std::size_t out_stride);
  // ... or from [depth, rows]; writes whole runs of 32 numbers.
  void (*left_transposed)(const float* in, std::size_t stride, std::size_t rows, std::size_t depth, std::uint16_t* out,
                          std::size_t out_stride);
  // A panel of the right factor, up to 64 columns: out [depth / 2, 64, 2]. From [depth, cols] ...
  void (*panel)(const float* in, std::size_t stride, std::size_t depth, std::size_t cols, std::uint16_t* out);
  // ... or from [cols, depth].
  void (*panel_transposed)(const float* in, std::size_t stride, std::size_t depth, std::size_t cols,
                           std::uint16_t* out);
};

// Of the instruction set that has products in bf16; null where the processor that this is built for has none.
const Bf16Packing* bf16_packing();

namespace avx512 {
extern const Bf16Packing kBf16Packing;  // only where the processor has AVX512_BF16
}

}  // namespace nibble
