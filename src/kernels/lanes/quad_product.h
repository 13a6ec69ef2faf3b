// SPDX-License-Identifier: Apache-2.0
//
// Products of 16-bit integers, two to a lane. Sums are exact, so neither the tile's shape nor the instruction set
// leaves a trace in the bits.
#pragma once

#include "kernels/kernel_table.h"

namespace nibble::lanes {

// Results of MR rows and NV vectors of 16 columns. Out of line and small so that the compiler keeps all sums in
// registers.
template <class F32, class Bytes, class Sums, class UnsignedQuad, int MR, int NV>
[[gnu::noinline]] static void quad_tile(const QuadProduct& p, std::size_t row, std::size_t column) {
  Sums sum[MR][NV];
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) sum[m][n] = Sums::set(0);
  // The results are wanted when all is summed: by then they are here, and no step waits for memory.
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n)
      __builtin_prefetch(p.y + (row + static_cast<std::size_t>(m)) * p.y_stride + column + 16 * n, 1, 2);
  const std::int32_t *panel = p.panel + column, *x = p.x + row * p.x_stride;
  for (std::size_t k = 0; k < p.depth; ++k, panel += 64) {
    Bytes w[NV];
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) w[n] = Bytes::load(reinterpret_cast<const std::uint8_t*>(panel + 16 * n));
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      const UnsignedQuad quad =
          UnsignedQuad::load(reinterpret_cast<const std::uint8_t*>(x + static_cast<std::size_t>(m) * p.x_stride + k));
#pragma GCC unroll 4
      for (int n = 0; n < NV; ++n) sum[m][n] = dot(sum[m][n], w[n], quad);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m) {
    const F32 row_scale = F32::set(p.row_scales[row + static_cast<std::size_t>(m)]);
    float* const y = p.y + (row + static_cast<std::size_t>(m)) * p.y_stride + column;
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n)
      fma(mul(row_scale, F32::load(p.column_scales + column + 16 * n)),
          add(to_f32(sum[m][n]), F32::load(p.offsets + column + 16 * n)), F32::load(y + 16 * n))
          .store(y + 16 * n);
  }
}

template <class F32, class Bytes, class Sums, class UnsignedQuad, int MR, int NV>
static void quad_product(const QuadProduct& p) {
  for (std::size_t column = 0; column < 64; column += 16 * NV) {
    std::size_t row = 0;
    for (; row + MR <= p.rows; row += MR) quad_tile<F32, Bytes, Sums, UnsignedQuad, MR, NV>(p, row, column);
    for (; row < p.rows; ++row) quad_tile<F32, Bytes, Sums, UnsignedQuad, 1, NV>(p, row, column);
  }
}

}  // namespace nibble::lanes
