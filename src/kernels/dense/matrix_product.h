// SPDX-License-Identifier: Apache-2.0
//
// Products of matrices of which either factor may lie transposed, as walking forwards and backwards through Linears and
// attention needs them. Sums run in f32; factors are multiplied as they are or rounded to bf16 before. Every element is
// one chain in ascending order of the summed index: the same bits for any number of threads, in f32 on every
// instruction set; those of bf16 are that instruction's own. Factors and results may not overlap.
//
//   multiply({x, cols}, {w, cols, true}, {tokens, rows, cols}, {y, rows}, arithmetic, machine);      // y = x w^T
//   multiply({dy, rows}, {w, cols}, {tokens, cols, rows}, {dx, cols, true}, arithmetic, machine);    // dx += dy w
//   multiply({dy, rows, true}, {x, cols}, {rows, cols, tokens}, {dw, cols, true}, arithmetic, machine);
//
// multiply: not for concurrent callers with the same machine. multiply_alone: from any thread, with room of its own.
#pragma once

#include <cstddef>

#include "kernels/machine.h"

namespace nibble {

enum class ProductArithmetic { f32, bf16 };

// Whether the set has products of bf16 pairs: bf16 may be asked for there only.
bool multiplies_bf16(Isa isa);

// [rows, cols] of a product: number (i, j) at data[i * stride + j], or where it lies transposed at data[j * stride +
// i].
struct Factor {
  const float* data;
  std::size_t stride;
  bool is_transposed = false;
};

// result [rows, cols] = left [rows, depth] right [depth, cols].
struct ProductExtents {
  std::size_t rows, cols, depth;
};

struct ProductResult {
  float* data;
  std::size_t stride;
  bool is_added = false;  // to what is there
};

void multiply(const Factor& left, const Factor& right, const ProductExtents& extents, const ProductResult& result,
              ProductArithmetic arithmetic, Machine& machine);

// The same on the calling thread alone. room: product_room(...) bytes, 64-byte aligned.
std::size_t product_room(const ProductExtents& extents, ProductArithmetic arithmetic);
void multiply_alone(const Factor& left, const Factor& right, const ProductExtents& extents, const ProductResult& result,
                    ProductArithmetic arithmetic, Isa isa, std::byte* room);

}  // namespace nibble
