// SPDX-License-Identifier: Apache-2.0
//
// Loops that do nothing but multiply, in enough independent chains to hide the latency: what the processor could do at best.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nibble::lanes {

inline constexpr int kChains = 12;

// iterations x 12 x 16 multiply-adds.
template <class F32>
static float f32_peak(std::size_t iterations) {
  F32 sum[kChains];
  const F32 a = F32::set(0.999f), b = F32::set(1e-3f);
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) sum[i] = F32::set(static_cast<float>(i));
  for (std::size_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sum[i] = fma(sum[i], a, b);
  }
#pragma GCC unroll 12
  for (int i = 1; i < kChains; ++i) sum[0] = add(sum[0], sum[i]);
  return sum_lanes(sum[0]);
}

// iterations x 12 x 64 multiply-adds of 8-bit numbers.
template <class Bytes, class Sums, class Quad>
static float int8_peak(std::size_t iterations) {
  Sums sum[kChains];
  const std::int8_t activations[4] = {1, -1, 2, -2};
  const Bytes w = Bytes::set(3);
  const Quad x = Quad::load(activations);
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) sum[i] = Sums::set(i);
  for (std::size_t n = 0; n < iterations; ++n) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sum[i] = dot(sum[i], w, x);
  }
  auto total = to_f32(sum[0]);
#pragma GCC unroll 12
  for (int i = 1; i < kChains; ++i) total = add(total, to_f32(sum[i]));
  return sum_lanes(total);
}

// Reads every line once, asking the second-level cache for it 8 KiB ahead of need.
template <class F32>
static float read_stream(const float* data, std::size_t count) {
  F32 a = F32::set(0), b = a, c = a, d = a;
  for (std::size_t i = 0; i + 64 <= count; i += 64) {
    for (std::size_t line = 0; line < 64; line += 16) __builtin_prefetch(data + i + 2048 + line, 0, 2);
    a = max(a, F32::load(data + i));
    b = max(b, F32::load(data + i + 16));
    c = max(c, F32::load(data + i + 32));
    d = max(d, F32::load(data + i + 48));
  }
  return max_lanes(max(max(a, b), max(c, d)));
}

}  // namespace nibble::lanes
