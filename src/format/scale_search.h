// SPDX-License-Identifier: Apache-2.0
//
// Error searches for short blocks with half-precision scales. Sums run over sixteen lanes and are folded in a fixed
// order, so that vector twins can give the same bits. x holds n values, n a multiple of 16 and at most 256; weights
// holds n non-negative values or is null (all one).
//
//   const float d = search_points(x, weights, 32, points, {-8, 7, 0.94f, 1.19f, 20}, loops);      // x ~ d * q
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

#include "format/scale.h"
#include "format/span_loops.h"

namespace nibble {

// The sum of term(i), in the order described above.
template <class Term>
float lane_sum(std::size_t n, Term term) {
  float lanes[16] = {};
  for (std::size_t i = 0; i < n; i += 16)
    for (std::size_t j = 0; j < 16; ++j) lanes[j] += term(i + j);
  for (std::size_t width = 8; width > 0; width /= 2)
    for (std::size_t j = 0; j < width; ++j) lanes[j] += lanes[j + width];
  return lanes[0];
}

// Ones in the place of weights that are not given, so that loops need not ask; n <= 256.
inline constexpr std::size_t kMaxSearched = 256;
inline const float* weights_or_ones(const float* weights) {
  static constexpr auto kOnes = [] {
    std::array<float, kMaxSearched> ones{};
    ones.fill(1.0f);
    return ones;
  }();
  return weights != nullptr ? weights : kOnes.data();
}

inline float inverse_of(float d) { return std::fabs(d) >= kMinNormal ? 1.0f / d : 0.0f; }
inline float as_half(float value) { return f16_to_f32(to_f16_saturated(value)); }

// The largest magnitude, and the first value that has it with its sign.
struct Peak {
  float magnitude = 0, value = 0;
};
Peak find_peak(const float* x, std::size_t n);

// Where the peak is tried: on either end of the points, from `inside` of that end's magnitude to `outside` of it.
struct SearchRange {
  float low, high;        // the end points, low < 0 < high
  float inside, outside;  // factors, inside < 1 < outside
  int steps;              // per end, at most 24
};

// A scale d, exactly a half, for x ~ d * p with p of the points. Its weighted squared error is never above that of d =
// peak / range.low rounded to half, the rule of ggml's reference.
float search_points(const float* x, const float* weights, std::size_t n, const UnitPoints& points,
                    const SearchRange& range, const SpanLoops& loops);

struct AffineGrid {
  float d = 0, m = 0;  // exactly halves
};
// Scale and offset for x ~ d * q + m with integer q in [0, hi]. Never above the error of the span from minimum to
// maximum.
AffineGrid search_affine(const float* x, const float* weights, std::size_t n, int hi);

}  // namespace nibble
