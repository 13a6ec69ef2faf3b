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

// Where a tile stands: everything moves on by one group at a time.
struct GroupCursor {
  const std::uint8_t* panel;
  const std::int8_t* x;
  const std::int32_t* biases;
  const float *sums, *scales, *offsets;
};

// One group: its dot products, times its scale, plus its offset, added to what the groups before it gave (kFirst: nothing). Results go
// to `sink(m, n, result)`.
template <class F32, class Bytes, class Sums, class Quad, int MR, int NV, bool kOffsets, bool kFirst, class Sink>
[[gnu::always_inline]] static inline void take_group(GroupCursor& at, std::size_t columns, const float (&running)[MR][NV][16], Sink&& sink) {
  Sums sum[MR][NV];
  group_dots<Bytes, Sums, Quad, MR, NV>(at.panel, columns / 4, at.x, at.biases, sum);
#pragma GCC unroll 4
  for (int n = 0; n < NV; ++n) {
    const F32 scale = F32::load(at.scales + 16 * n), offset = kOffsets ? F32::load(at.offsets + 16 * n) : scale;
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      F32 result = kFirst ? mul(to_f32(sum[m][n]), scale) : fma(to_f32(sum[m][n]), scale, F32::load(running[m][n]));
      if constexpr (kOffsets) result = fma(F32::set(at.sums[m * kMaxGroups]), offset, result);
      sink(m, n, result);
    }
  }
  at.panel += columns * 64;
  at.x += columns;
  at.scales += 64;
  at.offsets += kOffsets ? 64 : 0;
  ++at.biases;
  ++at.sums;
}

// MR tokens from `token` on, NV vectors of rows from `column` on.
template <class F32, class Bytes, class Sums, class Quad, int MR, int NV, bool kOffsets>
[[gnu::noinline]] static void integer_register_tile(const IntegerProduct& p, std::size_t token, std::size_t column) {
  alignas(64) float running[MR][NV][16];  // results of the current 128 columns: in memory, since registers hold the dot products
  GroupCursor at{p.panel + column * 4, p.x.codes + token * kBlockDepth,    p.x.biases + token * kMaxGroups, p.x.sums + token * kMaxGroups,
                 p.scales + column,    p.offsets + (kOffsets ? column : 0)};
  const float* x_scales = p.x.scales + token * 2;
  float* const y = p.y + token * p.y_stride + column;
  const std::size_t y_stride = p.y_stride;
  bool is_first = p.accumulate == 0;
  const auto keep = [&running](int m, int n, F32 result) __attribute__((always_inline)) { result.store(running[m][n]); };
  const auto finish = [&](int m, int n, F32 result) __attribute__((always_inline)) {
    float* const out = y + m * y_stride + 16 * n;
    fma(result, F32::set(x_scales[m * 2]), is_first ? F32::set(0) : F32::load(out)).store(out);
  };
  for (std::size_t start = 0; start < p.depth; start += kActivationDepth, is_first = false, ++x_scales) {
    std::size_t left = p.depth - start < kActivationDepth ? p.depth - start : kActivationDepth;
    if (left <= p.group) {
      take_group<F32, Bytes, Sums, Quad, MR, NV, kOffsets, true>(at, left, running, finish);
      continue;
    }
    take_group<F32, Bytes, Sums, Quad, MR, NV, kOffsets, true>(at, p.group, running, keep);
    for (left -= p.group; left > p.group; left -= p.group) take_group<F32, Bytes, Sums, Quad, MR, NV, kOffsets, false>(at, p.group, running, keep);
    take_group<F32, Bytes, Sums, Quad, MR, NV, kOffsets, false>(at, left, running, finish);
  }
}

template <class F32, class Bytes, class Sums, class Quad, int MR, int NV, bool kOffsets>
static void integer_columns(const IntegerProduct& p, std::size_t column) {
  std::size_t t = 0;
  for (; t + MR <= p.tokens; t += MR) integer_register_tile<F32, Bytes, Sums, Quad, MR, NV, kOffsets>(p, t, column);
  if constexpr (MR > 4)
    for (; t + 4 <= p.tokens; t += 4) integer_register_tile<F32, Bytes, Sums, Quad, 4, NV, kOffsets>(p, t, column);
  if constexpr (MR > 2)
    for (; t + 2 <= p.tokens; t += 2) integer_register_tile<F32, Bytes, Sums, Quad, 2, NV, kOffsets>(p, t, column);
  for (; t < p.tokens; ++t) integer_register_tile<F32, Bytes, Sums, Quad, 1, NV, kOffsets>(p, t, column);
}

template <class F32, class Bytes, class Sums, class Quad, int MR, int NV>
static void integer_product(const IntegerProduct& p) {
  for (std::size_t column = 0; column < 64; column += 16 * NV) {
    if (p.offsets != nullptr)
      integer_columns<F32, Bytes, Sums, Quad, MR, NV, true>(p, column);
    else
      integer_columns<F32, Bytes, Sums, Quad, MR, NV, false>(p, column);
  }
}

}  // namespace nibble::lanes
