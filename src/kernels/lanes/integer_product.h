// SPDX-License-Identifier: Apache-2.0
//
// Products of unsigned weight operands with signed 8-bit activations. Dot products are exact in 32 bits (at most 255 * 127 * 128 + bias
// per group); scales are applied group by group in ascending order, so every tile shape and instruction set gives the same bits.
#pragma once

#include "kernels/integer_shape.h"

namespace nibble::lanes {

// One group of columns for MR tokens x NV vectors of rows: sum[m][n] = bias + dot products.
template <class Bytes, class Sums, class Quad, int MR, int NV>
[[gnu::always_inline]] static inline void group_dots(const std::uint8_t* panel, std::size_t quads, const std::int8_t* x, const std::int32_t* biases,
                                                     Sums (&sum)[MR][NV]) {
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m) {
    const Sums bias = Sums::set(biases[m * kMaxGroups]);
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) sum[m][n] = bias;
  }
  for (std::size_t q = 0; q < quads; ++q) {
    Bytes w[NV];
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) w[n] = Bytes::load(panel + 64 * n);
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      const Quad value = Quad::load(x + m * kBlockDepth);
#pragma GCC unroll 4
      for (int n = 0; n < NV; ++n) sum[m][n] = dot(sum[m][n], w[n], value);
    }
    panel += 256;
    x += 4;
  }
}

// MR tokens from `token` on, NV vectors of rows from `column` on.
template <class F32, class Bytes, class Sums, class Quad, int MR, int NV>
[[gnu::noinline]] static void integer_register_tile(const IntegerProduct& p, std::size_t token, std::size_t column) {
  alignas(64) float running[MR][NV][16];  // results of the current 128 columns: in memory, since registers hold the dot products
  const std::int8_t* x = p.x.codes + token * kBlockDepth;
  const std::int32_t* biases = p.x.biases + token * kMaxGroups;
  const float *sums = p.x.sums + token * kMaxGroups, *x_scales = p.x.scales + token * 2;
  float* const y = p.y + token * p.y_stride + column;
  const std::uint8_t* panel = p.panel + column * 4;
  std::size_t group = 0;
  for (std::size_t start = 0; start < p.depth; start += kActivationDepth) {
    const std::size_t end = start + kActivationDepth < p.depth ? start + kActivationDepth : p.depth;
    for (std::size_t k = start; k < end; k += p.group, ++group) {
      const std::size_t quads = (end - k < p.group ? end - k : p.group) / 4;
      Sums sum[MR][NV];
      group_dots<Bytes, Sums, Quad, MR, NV>(panel, quads, x + k, biases + group, sum);
      panel += quads * 256;
#pragma GCC unroll 4
      for (int n = 0; n < NV; ++n) {
        const F32 scale = F32::load(p.scales + group * 64 + column + 16 * n);
#pragma GCC unroll 8
        for (int m = 0; m < MR; ++m) {
          const F32 value = to_f32(sum[m][n]);
          (k == start ? mul(value, scale) : fma(value, scale, F32::load(running[m][n]))).store(running[m][n]);
        }
      }
      if (p.offsets != nullptr) {
#pragma GCC unroll 4
        for (int n = 0; n < NV; ++n) {
          const F32 offset = F32::load(p.offsets + group * 64 + column + 16 * n);
#pragma GCC unroll 8
          for (int m = 0; m < MR; ++m) fma(F32::set(sums[m * kMaxGroups + group]), offset, F32::load(running[m][n])).store(running[m][n]);
        }
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      const F32 x_scale = F32::set(x_scales[m * 2 + start / kActivationDepth]);
#pragma GCC unroll 4
      for (int n = 0; n < NV; ++n) {
        float* const at = y + m * p.y_stride + 16 * n;
        fma(F32::load(running[m][n]), x_scale, start == 0 && p.accumulate == 0 ? F32::set(0) : F32::load(at)).store(at);
      }
    }
  }
}

template <class F32, class Bytes, class Sums, class Quad, int MR, int NV>
static void integer_product(const IntegerProduct& p) {
  for (std::size_t column = 0; column < 64; column += 16 * NV) {
    std::size_t t = 0;
    for (; t + MR <= p.tokens; t += MR) integer_register_tile<F32, Bytes, Sums, Quad, MR, NV>(p, t, column);
    if constexpr (MR > 4)
      for (; t + 4 <= p.tokens; t += 4) integer_register_tile<F32, Bytes, Sums, Quad, 4, NV>(p, t, column);
    if constexpr (MR > 2)
      for (; t + 2 <= p.tokens; t += 2) integer_register_tile<F32, Bytes, Sums, Quad, 2, NV>(p, t, column);
    for (; t < p.tokens; ++t) integer_register_tile<F32, Bytes, Sums, Quad, 1, NV>(p, t, column);
  }
}

}  // namespace nibble::lanes
