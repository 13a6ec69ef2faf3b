// SPDX-License-Identifier: Apache-2.0
//
// Loops that do nothing but multiply, in enough independent chains to hide the latency: what the processor could do at
// best.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nibble::lanes {

// As many as registers hold beside operands: sixteen lanes take two of the sixteen registers that sets before AVX-512
// have.
#if defined(__AVX512F__)
static constexpr int kChains = 12;
#elif defined(__AVXVNNI__)
static constexpr int kChains = 6;
#else
static constexpr int kChains = 4;
#endif

// iterations x 24 vectors of multiply-adds, in as many chains as the set's registers hold at once. V: sixteen f32 or
// eight f64 lanes.
template <class V, class T, int kHeld>
static float float_peak(std::size_t iterations) {
  static_assert(24 % kHeld == 0);
  V sum[kHeld];
  const V a = V::set(T(0.999)), b = V::set(T(1e-3));
  constexpr int kLanes = 64 / sizeof(T);
  T lanes[kLanes];
#pragma GCC unroll 24
  for (int i = 0; i < kHeld; ++i) {
    for (int j = 0; j < kLanes; ++j)
      lanes[j] = static_cast<T>(i * kLanes + j);  // all different, or equal chains would be computed once
    sum[i] = V::load(lanes);
  }
  for (std::size_t n = 0; n < iterations * (24 / kHeld); ++n) {
#pragma GCC unroll 24
    for (int i = 0; i < kHeld; ++i) sum[i] = fma(sum[i], a, b);
  }
  T total = 0;
#pragma GCC unroll 24
  for (int i = 0; i < kHeld; ++i) {
    sum[i].store(lanes);
    for (int j = 0; j < kLanes; ++j) total += lanes[j];
  }
  return static_cast<float>(total);
}

// iterations x 12 x 64 multiply-adds of 8-bit numbers.
template <class Bytes, class Sums, class Quad>
static float int8_peak(std::size_t iterations) {
  Sums sum[kChains];
  const std::int8_t activations[4] = {1, -1, 2, -2};
  std::uint8_t weights[64];
  for (int i = 0; i < 64; ++i)
    weights[i] = static_cast<std::uint8_t>(i);  // all different, or equal halves would be computed once
  Bytes w = Bytes::load(weights);
  const Quad x = Quad::load(activations);
#pragma GCC unroll 12
  for (int i = 0; i < kChains; ++i) sum[i] = Sums::set(i);
  for (std::size_t n = 0; n < iterations * (12 / kChains); ++n) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) {
#if !defined(__AVX512VNNI__) && !defined(__AVXVNNI__) && !defined(__ARM_FEATURE_DOTPROD)
      // Where products and sums are instructions of their own, products of what never changes would be formed once.
      __asm__ volatile("" : "+m"(w));
#endif
      sum[i] = dot(sum[i], w, x);
    }
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
