// SPDX-License-Identifier: Apache-2.0
//
// The small operations between the products, once for all instruction sets: templates over a set's sixteen-lane vector.
// Sums run in sixteen lanes (element i in lane i mod 16) that are folded 16-8-4-2-1 at the end, whatever the register
// width.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/lanes/exponential.h"

namespace nibble::lanes {

// (What memcpy becomes for 256 bytes, REP MOVS, takes longer to start than to copy.)
template <class F32>
static void store_tile(const float* tile, std::size_t tokens, float* out, std::size_t stride) {
  for (std::size_t t = 0; t < tokens; ++t, tile += 64, out += stride)
#pragma GCC unroll 4
    for (std::size_t j = 0; j < 64; j += 16) F32::load(tile + j).store(out + j);
}

template <class F32>
static void rms_norm_row(const float* x, const float* weight, std::size_t width, float epsilon, float* out) {
  F32 squares = F32::set(0);
  std::size_t i = 0;
  for (; i + 16 <= width; i += 16) {
    const F32 v = F32::load(x + i);
    squares = fma(v, v, squares);
  }
  if (i < width) {
    const F32 v = F32::load_part(x + i, width - i);
    squares = fma(v, v, squares);
  }
  const float mean = sum_lanes(squares) / static_cast<float>(width);
  const F32 factor = F32::set(1.0f / F32::square_root(mean + epsilon));
  for (i = 0; i + 16 <= width; i += 16) mul(mul(F32::load(x + i), factor), F32::load(weight + i)).store(out + i);
  if (i < width)
    mul(mul(F32::load_part(x + i, width - i), factor), F32::load_part(weight + i, width - i))
        .store_part(out + i, width - i);
}

// out = x / sqrt(sum of x^2 + epsilon)
template <class F32>
static void l2_norm_row(const float* x, std::size_t width, float epsilon, float* out) {
  F32 squares = F32::set(0);
  for (std::size_t i = 0; i < width; i += 16) {
    const F32 v = width - i < 16 ? F32::load_part(x + i, width - i) : F32::load(x + i);
    squares = fma(v, v, squares);
  }
  const F32 factor = F32::set(1.0f / F32::square_root(sum_lanes(squares) + epsilon));
  std::size_t i = 0;
  for (; i + 16 <= width; i += 16) mul(F32::load(x + i), factor).store(out + i);
  if (i < width) mul(F32::load_part(x + i, width - i), factor).store_part(out + i, width - i);
}

template <class F32>
[[gnu::always_inline]] static inline F32 sigmoid_times(F32 gate, F32 up) {
  return div(up, add(exponential(sub(F32::set(0), gate)), F32::set(1.0f)));
}

template <class F32>
[[gnu::always_inline]] static inline F32 silu_times(F32 gate, F32 up) {
  const F32 sigmoid_inverse = add(exponential(sub(F32::set(0), gate)), F32::set(1.0f));
  return mul(div(gate, sigmoid_inverse), up);
}

// The form with tanh: g * (1 + tanh(u)) / 2 = g / (1 + e^(-2u)), u = sqrt(2 / pi) * (g + 0.044715 g^3).
template <class F32>
[[gnu::always_inline]] static inline F32 gelu_times(F32 gate, F32 up) {
  const F32 cubic = fma(mul(gate, gate), F32::set(-0.0713548162726f), F32::set(-1.5957691216057308f));  // -2u / g
  return mul(div(gate, add(exponential(mul(gate, cubic)), F32::set(1.0f))), up);
}

template <class F32, F32 (*times)(F32, F32)>
static void gated_multiply(const float* gate, const float* up, std::size_t count, float* out) {
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) times(F32::load(gate + i), F32::load(up + i)).store(out + i);
  if (i < count)
    times(F32::load_part(gate + i, count - i), F32::load_part(up + i, count - i)).store_part(out + i, count - i);
}

// outer * tanh(inner * x), tanh(z) = 1 - 2 / (e^(2z) + 1): within a few units of the last place of `outer`. inner2: 2 *
// inner.
template <class F32>
[[gnu::always_inline]] static inline F32 soft_capped(F32 x, F32 inner2, F32 outer) {
  const F32 one = F32::set(1.0f);
  return mul(sub(one, div(F32::set(2.0f), add(exponential(mul(x, inner2)), one))), outer);
}

template <class F32>
static void soft_cap(float* x, std::size_t count, float inner, float outer) {
  const F32 inner2 = F32::set(2 * inner), most = F32::set(outer);
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) soft_capped(F32::load(x + i), inner2, most).store(x + i);
  if (i < count) soft_capped(F32::load_part(x + i, count - i), inner2, most).store_part(x + i, count - i);
}

template <class F32>
static void add_in_place(float* x, const float* y, std::size_t count) {
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) add(F32::load(x + i), F32::load(y + i)).store(x + i);
  if (i < count) add(F32::load_part(x + i, count - i), F32::load_part(y + i, count - i)).store_part(x + i, count - i);
}

// (a, b) -> (a cos - b sin, a sin + b cos), one rounding for the product, one for the sum.
template <class F32>
static void rope_half_split(float* x, const float* cosine, const float* sine, std::size_t half) {
  const F32 zero = F32::set(0);
  std::size_t i = 0;
  for (; i + 16 <= half; i += 16) {
    const F32 a = F32::load(x + i), b = F32::load(x + half + i), c = F32::load(cosine + i), s = F32::load(sine + i);
    fma(a, c, sub(zero, mul(b, s))).store(x + i);
    fma(a, s, mul(b, c)).store(x + half + i);
  }
  if (i < half) {
    const std::size_t n = half - i;
    const F32 a = F32::load_part(x + i, n), b = F32::load_part(x + half + i, n), c = F32::load_part(cosine + i, n),
              s = F32::load_part(sine + i, n);
    fma(a, c, sub(zero, mul(b, s))).store_part(x + i, n);
    fma(a, s, mul(b, c)).store_part(x + half + i, n);
  }
}

template <class F32>
static void rope_pairs(float* x, const float* cosine, const float* sine, std::size_t half) {
  alignas(64) float a[16], b[16];
  const F32 zero = F32::set(0);
  for (std::size_t i = 0; i < half; i += 16) {
    const std::size_t n = half - i < 16 ? half - i : 16;
    for (std::size_t j = 0; j < n; ++j) {
      a[j] = x[2 * (i + j)];
      b[j] = x[2 * (i + j) + 1];
    }
    const F32 va = F32::load_part(a, n), vb = F32::load_part(b, n), c = F32::load_part(cosine + i, n),
              s = F32::load_part(sine + i, n);
    fma(va, c, sub(zero, mul(vb, s))).store(a);
    fma(va, s, mul(vb, c)).store(b);
    for (std::size_t j = 0; j < n; ++j) {
      x[2 * (i + j)] = a[j];
      x[2 * (i + j) + 1] = b[j];
    }
  }
}

template <class F32>
static float maximum(const float* x, std::size_t count) {
  const F32 first = F32::set(x[0]);
  F32 m = first;
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) m = max(m, F32::load(x + i));
  if (i < count) m = max(m, first_lanes(F32::load_part(x + i, count - i), count - i, first));
  return max_lanes(m);
}

// e^(x - top) of the n values at x; lanes beyond them add less than any double's last digit.
template <class F32, class F64>
[[gnu::always_inline]] static inline F64 exponentials(F32 x, F64 top) {
  return exponential_f64(sub(F64::widen(x), top));
}

template <class F32>
[[gnu::always_inline]] static inline F32 load_or_lowest(const float* x, std::size_t n) {
  return n >= 16 ? F32::load(x) : first_lanes(F32::load_part(x, n), n, F32::set(-__FLT_MAX__));
}

template <class F32, class F64>
static double sum_exp(const float* x, std::size_t count, float maximum) {
  const F64 top = F64::set(static_cast<double>(maximum));
  F64 sum = F64::set(0);
  for (std::size_t i = 0; i < count; i += 16)
    sum = add(sum, exponentials<F32, F64>(load_or_lowest<F32>(x + i, count - i), top));
  return sum_lanes(sum);
}

template <class F32, class F64>
static void divergence_sums(const float* p, const float* q, std::size_t count, float maximum_p, float maximum_q,
                            double* out) {
  const F64 top_p = F64::set(static_cast<double>(maximum_p)), top_q = F64::set(static_cast<double>(maximum_q));
  F64 sum_p = F64::set(0), sum_q = F64::set(0), weighted = F64::set(0);
  for (std::size_t i = 0; i < count; i += 16) {
    const F32 x = load_or_lowest<F32>(p + i, count - i), y = load_or_lowest<F32>(q + i, count - i);
    const F64 e = exponentials<F32, F64>(x, top_p);
    sum_p = add(sum_p, e);
    sum_q = add(sum_q, exponentials<F32, F64>(y, top_q));
    weighted = fma(e, sub(F64::widen(x), F64::widen(y)), weighted);
  }
  out[0] = sum_lanes(sum_p);
  out[1] = sum_lanes(sum_q);
  out[2] = sum_lanes(weighted);
}

// The first n lanes of a chunk's vector number i (of 4) that lie below `valid`.
inline constexpr std::size_t kChunkVectors = 4;
[[gnu::always_inline]] static inline std::size_t valid_lanes(std::size_t valid, std::size_t vector) {
  return valid <= vector * 16 ? 0 : valid - vector * 16 < 16 ? valid - vector * 16 : 16;
}

// Positions that are not seen get `other`.
template <class F32>
[[gnu::always_inline]] static inline void mask(F32 (&x)[kChunkVectors], std::size_t begin, std::size_t end, F32 other) {
  if (end < 16 * kChunkVectors)
    for (std::size_t i = 0; i < kChunkVectors; ++i) x[i] = first_lanes(x[i], valid_lanes(end, i), other);
  if (begin != 0)
    for (std::size_t i = 0; i < kChunkVectors; ++i) x[i] = first_lanes(other, valid_lanes(begin, i), x[i]);
}

template <class F32>
[[gnu::always_inline]] static inline float first_lane(F32 x) {
  alignas(64) float lanes[16];
  x.store(lanes);
  return lanes[0];
}

template <class F32>
static float exponential_of(float x) {
  return first_lane(exponential(F32::set(x)));
}

template <class F32>
static float softmax_chunk(float* scores, std::size_t begin, std::size_t end, float scale, float* running_maximum,
                           float* running_sum) {
  const F32 factor = F32::set(scale), lowest = F32::set(-__FLT_MAX__);
  F32 s[kChunkVectors];
  for (std::size_t i = 0; i < kChunkVectors; ++i) s[i] = mul(F32::load(scores + 16 * i), factor);
  mask(s, begin, end, lowest);
  const float here = max_lanes(max(max(s[0], s[1]), max(s[2], s[3]))), before = *running_maximum,
              top = here > before ? here : before;
  for (std::size_t i = 0; i < kChunkVectors; ++i) s[i] = power_of_two(sub(s[i], F32::set(top)));
  mask(s, begin, end, F32::set(0));
  for (std::size_t i = 0; i < kChunkVectors; ++i) s[i].store(scores + 16 * i);
  const float kept = before == top ? 1.0f : first_lane(power_of_two(F32::set(before - top)));
  *running_maximum = top;
  *running_sum = *running_sum * kept + sum_lanes(add(add(s[0], s[1]), add(s[2], s[3])));
  return kept;
}

template <class F32>
static void merge_softmax(const float* other, float other_maximum, float other_sum, std::size_t count, float* result,
                          float* maximum, float* sum) {
  const float top = other_maximum > *maximum ? other_maximum : *maximum;
  const F32 kept = power_of_two(F32::set(*maximum - top)), taken = power_of_two(F32::set(other_maximum - top));
  for (std::size_t i = 0; i < count; i += 16)
    fma(F32::load(other + i), taken, mul(F32::load(result + i), kept)).store(result + i);
  *sum = *sum * first_lane(kept) + other_sum * first_lane(taken);
  *maximum = top;
}

template <class F32>
static void divide(const float* x, std::size_t count, float divisor, float* out) {
  const F32 d = F32::set(divisor);
  std::size_t i = 0;
  for (; i + 16 <= count; i += 16) div(F32::load(x + i), d).store(out + i);
  if (i < count) div(F32::load_part(x + i, count - i), d).store_part(out + i, count - i);
}

}  // namespace nibble::lanes
