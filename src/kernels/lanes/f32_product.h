// SPDX-License-Identifier: Apache-2.0
//
// f32 and f64 products over interleaved panels. Each output is one chain of fused multiply-adds in ascending k, so the
// tile shape (MR tokens by NV vectors), the batch and the instruction set leave no trace in the bits.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nibble::lanes {

// One register tile. Kept out of line and small so that the compiler keeps all accumulators in registers. V: sixteen
// f32 or eight f64 lanes.
template <class V, int MR, int NV, class T>
[[gnu::noinline]] static void register_tile(const T* panel, std::size_t depth, std::size_t width, const T* x,
                                            std::size_t x_stride, T* y, std::size_t y_stride, int accumulate) {
  constexpr std::size_t kLanes = 64 / sizeof(T);
  V sum[MR][NV];
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) sum[m][n] = accumulate != 0 ? V::load(y + m * y_stride + kLanes * n) : V::set(0);
  for (std::size_t k = 0; k < depth; ++k) {
    V w[NV];
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) w[n] = V::load(panel + kLanes * n);
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      const V value = V::set(x[m * x_stride + k]);
#pragma GCC unroll 4
      for (int n = 0; n < NV; ++n) sum[m][n] = fma(value, w[n], sum[m][n]);
    }
    panel += width;
  }
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) sum[m][n].store(y + m * y_stride + kLanes * n);
}

template <class V, int MR, int NV, class T>
static void tile_columns(const T* panel, std::size_t depth, std::size_t width, const T* x, std::size_t x_stride,
                         std::size_t tokens, T* y, std::size_t y_stride, int accumulate) {
  std::size_t t = 0;
  for (; t + MR <= tokens; t += MR)
    register_tile<V, MR, NV>(panel, depth, width, x + t * x_stride, x_stride, y + t * y_stride, y_stride, accumulate);
  if constexpr (MR > 2)
    for (; t + 2 <= tokens; t += 2)
      register_tile<V, 2, NV>(panel, depth, width, x + t * x_stride, x_stride, y + t * y_stride, y_stride, accumulate);
  for (; t < tokens; ++t)
    register_tile<V, 1, NV>(panel, depth, width, x + t * x_stride, x_stride, y + t * y_stride, y_stride, accumulate);
}

// MR x NV: the set's best tile for batches. A single token takes four vectors at once where it can, for enough
// independent chains.
template <class V, class T, int MR, int NV>
static void panel_product(const T* panel, std::size_t depth, std::size_t width, const T* x, std::size_t x_stride,
                          std::size_t tokens, T* y, std::size_t y_stride, int accumulate) {
  constexpr std::size_t kLanes = 64 / sizeof(T);
  std::size_t n = 0;
  if (tokens == 1)
    for (; n + 4 * kLanes <= width; n += 4 * kLanes)
      register_tile<V, 1, 4>(panel + n, depth, width, x, x_stride, y + n, y_stride, accumulate);
  for (; n + kLanes * NV <= width; n += kLanes * NV)
    tile_columns<V, MR, NV>(panel + n, depth, width, x, x_stride, tokens, y + n, y_stride, accumulate);
  for (; n < width; n += kLanes)
    tile_columns<V, MR, 1>(panel + n, depth, width, x, x_stride, tokens, y + n, y_stride, accumulate);
}

struct HalfBits {
  template <class F32>
  static F32 load(const std::uint16_t* p) {
    return F32::load_f16(p);
  }
};
struct BrainBits {
  template <class F32>
  static F32 load(const std::uint16_t* p) {
    return F32::load_bf16(p);
  }
};

// One token and a panel of 64 columns of 16-bit numbers, widened on the way.
template <class F32, class Bits>
static void narrow_vector(const std::uint16_t* panel, std::size_t depth, const float* x, float* y) {
  F32 sum[4] = {F32::set(0), F32::set(0), F32::set(0), F32::set(0)};
  for (std::size_t k = 0; k < depth; ++k) {
    const F32 value = F32::set(x[k]);
    __builtin_prefetch(panel + 64 * 64, 0, 2);
    __builtin_prefetch(panel + 64 * 64 + 32, 0, 2);
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) sum[n] = fma(value, Bits::template load<F32>(panel + 16 * n), sum[n]);
    panel += 64;
  }
#pragma GCC unroll 4
  for (int n = 0; n < 4; ++n) sum[n].store(y + 16 * n);
}

template <class F32, class Bits>
static void widen(const std::uint16_t* in, std::size_t count, float* out) {
  for (std::size_t i = 0; i < count; i += 16) Bits::template load<F32>(in + i).store(out + i);
}

template <class F32>
static void narrow_f16(const float* in, std::size_t count, std::uint16_t* out) {
  for (std::size_t i = 0; i < count; i += 16) F32::load(in + i).store_f16(out + i);
}

// Blocks of 16 columns, so that each line of `out` is written while it is in the nearest cache.
[[maybe_unused]] static void transpose_rows(const float* in, std::size_t in_stride, std::size_t cols, float* out) {
  for (std::size_t c = 0; c < cols; c += 16) {
    const std::size_t n = cols - c < 16 ? cols - c : 16;
    for (std::size_t r = 0; r < 64; ++r)
      for (std::size_t i = 0; i < n; ++i) out[(c + i) * 64 + r] = in[r * in_stride + c + i];
  }
}

}  // namespace nibble::lanes
