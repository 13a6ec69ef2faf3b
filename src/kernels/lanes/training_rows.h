// SPDX-License-Identifier: Apache-2.0
//
// The rows of training/training_loops.h, once for all instruction sets: templates over a set's sixteen-lane vector.
#pragma once

#include <cstddef>

#include "kernels/lanes/exponential.h"
#include "kernels/training/training_loops.h"

namespace nibble::lanes {

// Sixteen numbers, or the n that are left and zeros.
template <class F32>
[[gnu::always_inline]] static inline F32 load_row(const float* p, std::size_t n) {
  return n >= 16 ? F32::load(p) : F32::load_part(p, n);
}
template <class F32>
[[gnu::always_inline]] static inline void store_row(F32 x, float* p, std::size_t n) {
  if (n >= 16)
    x.store(p);
  else
    x.store_part(p, n);
}
template <class F32>
[[gnu::always_inline]] static inline F32 kept_lanes(F32 x, std::size_t n, F32 other) {
  return n >= 16 ? x : first_lanes(x, n, other);
}

template <class F32>
static float softmax_row(float* x, std::size_t count, float scale, float rest) {
  const F32 factor = F32::set(scale), lowest = F32::set(-__FLT_MAX__);
  F32 most = lowest;
  for (std::size_t i = 0; i < count; i += 16) {
    const F32 scaled = mul(load_row<F32>(x + i, count - i), factor);
    store_row(scaled, x + i, count - i);
    most = max(most, kept_lanes(scaled, count - i, lowest));
  }
  const float here = max_lanes(most), top = here > rest ? here : rest;
  const F32 shift = F32::set(top), zero = F32::set(0);
  F32 sum = zero;
  for (std::size_t i = 0; i < count; i += 16) {
    const F32 e = exponential(sub(load_row<F32>(x + i, count - i), shift));
    store_row(e, x + i, count - i);
    sum = add(sum, kept_lanes(e, count - i, zero));
  }
  alignas(64) float first[16];
  exponential(F32::set(rest - top)).store(first);
  const float inverse = 1 / (sum_lanes(sum) + first[0]);
  const F32 share = F32::set(inverse);
  for (std::size_t i = 0; i < count; i += 16) store_row(mul(load_row<F32>(x + i, count - i), share), x + i, count - i);
  return first[0] * inverse;
}

template <class F32>
static float softmax_gradient_row(const float* p, std::size_t count, float scale, float* by_p) {
  F32 sum = F32::set(0);
  for (std::size_t i = 0; i < count; i += 16)
    sum = fma(load_row<F32>(p + i, count - i), load_row<F32>(by_p + i, count - i), sum);
  const float mean = sum_lanes(sum);
  const F32 middle = F32::set(mean), factor = F32::set(scale);
  for (std::size_t i = 0; i < count; i += 16) {
    const F32 apart = sub(load_row<F32>(by_p + i, count - i), middle);
    store_row(mul(mul(load_row<F32>(p + i, count - i), apart), factor), by_p + i, count - i);
  }
  return mean;
}

template <class F32>
static void probabilities_row(float* x, std::size_t count, float log_sum, float factor) {
  const F32 shift = F32::set(log_sum), scale = F32::set(factor);
  for (std::size_t i = 0; i < count; i += 16)
    store_row(mul(exponential(sub(load_row<F32>(x + i, count - i), shift)), scale), x + i, count - i);
}

// 1 / (1 + e^-x)
template <class F32>
[[gnu::always_inline]] static inline F32 open_share(F32 x) {
  return div(F32::set(1.0f), add(exponential(sub(F32::set(0), x)), F32::set(1.0f)));
}

// 2u of gelu's tanh(u), and its slope: sqrt(2 / pi) * (2x + 0.08943 x^3).
template <class F32>
[[gnu::always_inline]] static inline F32 gelu_bend(F32 x) {
  return mul(x, fma(mul(x, x), F32::set(0.0713548162726f), F32::set(1.5957691216057308f)));
}
template <class F32>
[[gnu::always_inline]] static inline F32 gelu_bend_slope(F32 x) {
  return fma(mul(x, x), F32::set(0.2140644488178f), F32::set(1.5957691216057308f));
}

template <class F32>
static void silu_row(const float* x, std::size_t count, float* y) {
  for (std::size_t i = 0; i < count; i += 16) {
    const F32 v = load_row<F32>(x + i, count - i);
    store_row(mul(v, open_share(v)), y + i, count - i);
  }
}

template <class F32>
static void gelu_row(const float* x, std::size_t count, float* y) {
  for (std::size_t i = 0; i < count; i += 16) {
    const F32 v = load_row<F32>(x + i, count - i);
    store_row(mul(v, open_share(gelu_bend(v))), y + i, count - i);
  }
}

// by_x += by_y * slope(x)
template <class F32, class Slope>
[[gnu::always_inline]] static inline void add_slopes(const float* x, const float* by_y, std::size_t count, float* by_x,
                                                     Slope slope) {
  for (std::size_t i = 0; i < count; i += 16) {
    const F32 v = load_row<F32>(x + i, count - i);
    store_row(fma(load_row<F32>(by_y + i, count - i), slope(v), load_row<F32>(by_x + i, count - i)), by_x + i,
              count - i);
  }
}

template <class F32>
static void add_silu_gradient_row(const float* x, const float* by_y, std::size_t count, float* by_x) {
  add_slopes<F32>(x, by_y, count, by_x, [](F32 v) __attribute__((always_inline)) {
    const F32 one = F32::set(1.0f), open = open_share(v);
    return mul(open, fma(v, sub(one, open), one));
  });
}

template <class F32>
static void add_gelu_gradient_row(const float* x, const float* by_y, std::size_t count, float* by_x) {
  add_slopes<F32>(x, by_y, count, by_x, [](F32 v) __attribute__((always_inline)) {
    const F32 one = F32::set(1.0f), open = open_share(gelu_bend(v));
    return mul(open, fma(mul(v, sub(one, open)), gelu_bend_slope(v), one));
  });
}

template <class F32>
static void add_rms_norm_gradient_row(const float* x, const float* weight, const float* by_y, std::size_t width,
                                      float epsilon, float* by_x, float* by_weight) {
  F32 squares = F32::set(0), along = squares;
  for (std::size_t i = 0; i < width; i += 16) {
    const F32 v = load_row<F32>(x + i, width - i);
    squares = fma(v, v, squares);
    along = fma(mul(v, load_row<F32>(by_y + i, width - i)), load_row<F32>(weight + i, width - i), along);
  }
  const float mean = sum_lanes(squares) / static_cast<float>(width) + epsilon;
  const float inverse = 1.0f / F32::square_root(mean);
  const F32 factor = F32::set(inverse),
            turned = F32::set(sum_lanes(along) / (mean * static_cast<float>(width)) * inverse);
  for (std::size_t i = 0; i < width; i += 16) {
    const F32 v = load_row<F32>(x + i, width - i), dy = mul(load_row<F32>(by_y + i, width - i), factor);
    if (by_x != nullptr) {
      const F32 by = sub(mul(dy, load_row<F32>(weight + i, width - i)), mul(turned, v));
      store_row(add(load_row<F32>(by_x + i, width - i), by), by_x + i, width - i);
    }
    if (by_weight != nullptr) store_row(fma(dy, v, load_row<F32>(by_weight + i, width - i)), by_weight + i, width - i);
  }
}

template <class F32>
inline constexpr TrainingLoops kRows = {softmax_row<F32>,           softmax_gradient_row<F32>,
                                        probabilities_row<F32>,     silu_row<F32>,
                                        add_silu_gradient_row<F32>, gelu_row<F32>,
                                        add_gelu_gradient_row<F32>, add_rms_norm_gradient_row<F32>};

}  // namespace nibble::lanes
