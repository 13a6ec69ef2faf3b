// SPDX-License-Identifier: Apache-2.0
//
// What operations that recur do token by token (kernels/recurrent/recurrent.h), once for all instruction sets: lanes
// are channels, which do not see each other.
#pragma once

#include <cstddef>

#include "kernels/lanes/vector_loops.h"
#include "kernels/recurrent/recurrent_parts.h"

namespace nibble::lanes {

// Up to sixteen lanes of memory.
template <class F32>
[[gnu::always_inline]] static inline F32 load_lanes(const float* p, std::size_t n) {
  return n >= 16 ? F32::load(p) : F32::load_part(p, n);
}
template <class F32>
[[gnu::always_inline]] static inline void store_lanes(F32 x, float* p, std::size_t n) {
  if (n >= 16)
    x.store(p);
  else
    x.store_part(p, n);
}

// Sixteen channels, or n.
template <class F32>
[[gnu::always_inline]] static inline void convolve_lanes(const ConvolvedChannels& c, std::size_t channel,
                                                         std::size_t n) {
  const std::size_t before = c.num_taps - 1;
  float* const state = c.state + channel;
  const auto input = [&](std::size_t row) __attribute__((always_inline)) {  // of those before and the tokens after them
    return load_lanes<F32>(row < before ? state + row * c.stride : c.x + channel + (row - before) * c.stride, n);
  };
  alignas(64) float taps[kMostTaps * 16] = {};  // [num_taps, 16]
  for (std::size_t j = 0; j < c.num_taps; ++j)
    for (std::size_t i = 0; i < n; ++i) taps[j * 16 + i] = c.taps[(channel + i) * c.num_taps + j];
  for (std::size_t t = 0; t < c.tokens; ++t) {
    F32 sum = F32::set(0);
    for (std::size_t j = 0; j < c.num_taps; ++j) sum = fma(F32::load(taps + j * 16), input(t + j), sum);
    if (c.activates) sum = silu_times(sum, F32::set(1.0f));
    store_lanes(sum, c.out + channel + t * c.stride, n);
  }
  for (std::size_t row = 0; row < before; ++row) store_lanes(input(c.tokens + row), state + row * c.stride, n);
}

template <class F32>
static void convolve_channels(const ConvolvedChannels& c) {
  for (std::size_t channel = 0; channel < c.channels; channel += 16)
    convolve_lanes<F32>(c, channel, c.channels - channel < 16 ? c.channels - channel : 16);
}

// Two vectors of columns, the second of which may be empty: their sums hide each other's waiting.
template <class F32>
[[gnu::always_inline]] static inline void delta_rule_lanes(const DeltaColumns& d, std::size_t column, std::size_t n,
                                                           std::size_t m) {
  for (std::size_t t = 0; t < d.tokens; ++t) {
    const float *const query = d.query + t * d.key_stride, *const key = d.key + t * d.key_stride;
    const F32 kept = F32::set(d.kept[t]), learnt = F32::set(d.learnt[t]), scale = F32::set(d.scale);
    float* const state = d.state + column;
    F32 known[2] = {F32::set(0), F32::set(0)}, sum[2] = {F32::set(0), F32::set(0)};
    for (std::size_t i = 0; i < d.depth; ++i) {
      float* const row = state + i * d.state_stride;
      const F32 k = F32::set(key[i]);
      known[0] = fma(mul(load_lanes<F32>(row, n), kept), k, known[0]);
      if (m != 0) known[1] = fma(mul(load_lanes<F32>(row + 16, m), kept), k, known[1]);
    }
    const float* const value = d.value + t * d.stride + column;
    F32 error[2] = {mul(sub(load_lanes<F32>(value, n), known[0]), learnt), F32::set(0)};
    if (m != 0) error[1] = mul(sub(load_lanes<F32>(value + 16, m), known[1]), learnt);
    for (std::size_t i = 0; i < d.depth; ++i) {
      float* const row = state + i * d.state_stride;
      const F32 k = F32::set(key[i]), q = F32::set(query[i]);
      const F32 first = fma(k, error[0], mul(load_lanes<F32>(row, n), kept));
      sum[0] = fma(first, q, sum[0]);
      store_lanes(first, row, n);
      if (m == 0) continue;
      const F32 second = fma(k, error[1], mul(load_lanes<F32>(row + 16, m), kept));
      sum[1] = fma(second, q, sum[1]);
      store_lanes(second, row + 16, m);
    }
    float* const out = d.out + t * d.stride + column;
    store_lanes(mul(sum[0], scale), out, n);
    if (m != 0) store_lanes(mul(sum[1], scale), out + 16, m);
  }
}

// The same of many tokens, whose rows would be in each other's way in the first cache where they lie far apart: two
// vectors of columns in a place of their own. Between tokens that has the state as the next one forgets it, and what
// that knows is summed up on the way, so that rows are read and written once a token.
inline constexpr std::size_t kMostTileRows = 256, kManyTokens = 8;

// known: of the token, and set to the next one's.
template <class F32, bool kIsLast>
[[gnu::always_inline]] static inline void delta_rule_step(const DeltaColumns& d, float* tile, std::size_t column,
                                                          std::size_t t, F32 (&known)[2]) {
  const float *const query = d.query + t * d.key_stride, *const key = d.key + t * d.key_stride;
  const float* const next_key = kIsLast ? key : key + d.key_stride;
  const F32 next_kept = F32::set(d.kept[kIsLast ? t : t + 1]), learnt = F32::set(d.learnt[t]);
  F32 error[2], sum[2];
  for (std::size_t v = 0; v < 2; ++v) {
    error[v] = mul(sub(F32::load(d.value + t * d.stride + column + 16 * v), known[v]), learnt);
    sum[v] = known[v] = F32::set(0);
  }
  for (std::size_t i = 0; i < d.depth; ++i) {
    const F32 k = F32::set(key[i]), q = F32::set(query[i]), next_k = F32::set(next_key[i]);
    for (std::size_t v = 0; v < 2; ++v) {
      F32 x = fma(k, error[v], F32::load(tile + i * 32 + 16 * v));
      sum[v] = fma(x, q, sum[v]);
      if constexpr (!kIsLast) {
        x = mul(x, next_kept);
        known[v] = fma(x, next_k, known[v]);
      }
      x.store(tile + i * 32 + 16 * v);
    }
  }
  for (std::size_t v = 0; v < 2; ++v) mul(sum[v], F32::set(d.scale)).store(d.out + t * d.stride + column + 16 * v);
}

template <class F32>
[[gnu::noinline]] static void delta_rule_tile(const DeltaColumns& d, std::size_t column) {
  alignas(64) float tile[kMostTileRows * 32];
  float* const state = d.state + column;
  const F32 kept = F32::set(d.kept[0]);
  F32 known[2] = {F32::set(0), F32::set(0)};
  for (std::size_t i = 0; i < d.depth; ++i)
    for (std::size_t v = 0; v < 2; ++v) {
      const F32 x = mul(F32::load(state + i * d.state_stride + 16 * v), kept);
      known[v] = fma(x, F32::set(d.key[i]), known[v]);
      x.store(tile + i * 32 + 16 * v);
    }
  for (std::size_t t = 0; t + 1 < d.tokens; ++t) delta_rule_step<F32, false>(d, tile, column, t, known);
  delta_rule_step<F32, true>(d, tile, column, d.tokens - 1, known);
  for (std::size_t i = 0; i < d.depth; ++i)
    for (std::size_t v = 0; v < 2; ++v) F32::load(tile + i * 32 + 16 * v).store(state + i * d.state_stride + 16 * v);
}

template <class F32>
static void delta_rule_columns(const DeltaColumns& d) {
  std::size_t column = 0;
  if (d.tokens >= kManyTokens && d.depth <= kMostTileRows)
    for (; column + 32 <= d.columns; column += 32) delta_rule_tile<F32>(d, column);
  for (; column + 32 <= d.columns; column += 32) delta_rule_lanes<F32>(d, column, 16, 16);
  if (column == d.columns) return;
  const std::size_t left = d.columns - column;
  delta_rule_lanes<F32>(d, column, left < 16 ? left : 16, left < 16 ? 0 : left - 16);
}

}  // namespace nibble::lanes
