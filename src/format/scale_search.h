// SPDX-License-Identifier: Apache-2.0
//
// Error searches for short blocks with half-precision scales. Sums run over sixteen lanes and are folded in a fixed order, so that
// vector twins can give the same bits. x holds n values, n a multiple of 16; weights holds n non-negative values or is null (all one).
//
//   const float d = search_symmetric(x, weights, 32, -8, 7);      // x ~ d * q
#pragma once

#include <cstddef>

namespace nibble {

// sum of weight * term(i), in the order described above.
template <class Term>
float lane_sum(std::size_t n, Term term) {
  float lanes[16] = {};
  for (std::size_t i = 0; i < n; i += 16)
    for (std::size_t j = 0; j < 16; ++j) lanes[j] += term(i + j);
  for (std::size_t width = 8; width > 0; width /= 2)
    for (std::size_t j = 0; j < width; ++j) lanes[j] += lanes[j + width];
  return lanes[0];
}

// The largest magnitude, and the first value that has it with its sign.
struct Peak {
  float magnitude = 0, value = 0;
};
Peak find_peak(const float* x, std::size_t n);

// A scale d, exactly a half, for x ~ d * q with integer q in [lo, hi] (lo < 0 < hi). Its weighted squared error under nearest codes is
// never above that of d = peak / lo rounded to half, the rule of ggml's reference.
float search_symmetric(const float* x, const float* weights, std::size_t n, int lo, int hi);

struct AffineGrid {
  float d = 0, m = 0;  // exactly halves
};
// Scale and offset for x ~ d * q + m with integer q in [0, hi]. Never above the error of the span from minimum to maximum.
AffineGrid search_affine(const float* x, const float* weights, std::size_t n, int hi);

}  // namespace nibble
