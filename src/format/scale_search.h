// SPDX-License-Identifier: Apache-2.0
//
// Error searches for short blocks with half-precision scales. Sums run over sixteen lanes and are folded in a fixed order, so that
// vector twins can give the same bits. x holds n values, n a multiple of 16 and at most 256; weights holds n non-negative values or is null (all
// one).
//
//   const float d = search_symmetric(x, weights, 32, -8, 7);      // x ~ d * q
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <utility>

#include "format/scale.h"

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

// Two such sums at once: term(i, first, second).
template <class Term>
std::pair<float, float> lane_sums(std::size_t n, Term term) {
  float first[16] = {}, second[16] = {};
  for (std::size_t i = 0; i < n; i += 16) {
    for (std::size_t j = 0; j < 16; ++j) {
      float a, b;
      term(i + j, a, b);
      first[j] += a;
      second[j] += b;
    }
  }
  for (std::size_t width = 8; width > 0; width /= 2) {
    for (std::size_t j = 0; j < width; ++j) first[j] += first[j + width];
    for (std::size_t j = 0; j < width; ++j) second[j] += second[j + width];
  }
  return {first[0], second[0]};
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
  int steps;              // per end
};

// A scale d, exactly a half, for x ~ d * point(x / d), where point rounds to the points of the format and returns a float. Its weighted
// squared error is never above that of d = peak / range.low rounded to half, the rule of ggml's reference.
template <class Point>
float search_points(const float* x, const float* given_weights, std::size_t n, const SearchRange& range, Point point) {
  const float* weights = weights_or_ones(given_weights);
  const auto error_of = [&](float d) {
    const float inverse = inverse_of(d);
    return lane_sum(n, [&](std::size_t i) {
      const float error = x[i] - d * point(x[i] * inverse);
      return weights[i] * error * error;
    });
  };
  // Points fixed at those of x * inverse, the best scale is sum(w x p) / sum(w p^2); it removes sum(w x p)^2 / sum(w p^2) of sum(w x^2).
  struct Fitted {
    float d = 0, removed = 0;
  };
  const auto refit = [&](float inverse) {
    const auto [cross, square] = lane_sums(n, [&](std::size_t i, float& cross_term, float& square_term) {
      const float p = point(x[i] * inverse);
      cross_term = weights[i] * x[i] * p;
      square_term = weights[i] * p * p;
    });
    return square > 0 ? Fitted{cross / square, cross / square * cross} : Fitted{};
  };

  const Peak peak = find_peak(x, n);
  float best_d = as_half(peak.value / range.low);
  if (!(peak.magnitude >= kMinNormal) || best_d == 0) return best_d;
  float best_error = error_of(best_d);
  Fitted best;
  for (const float end : {range.low, range.high}) {
    for (int step = 0; step <= range.steps; ++step) {
      const float factor = range.inside + (range.outside - range.inside) * static_cast<float>(step) / static_cast<float>(range.steps);
      const Fitted fitted = refit(end * factor / peak.value);
      if (fitted.removed > best.removed) best = fitted;
    }
  }
  for (int round = 0; round < 4 && best.d != 0; ++round) {
    const float d = as_half(best.d);
    const float error = error_of(d);
    if (!(error < best_error)) break;
    best_error = error;
    best_d = d;
    best = refit(inverse_of(d));
  }
  return best_d;
}

// The same for x ~ d * q with integer q in [lo, hi].
float search_symmetric(const float* x, const float* weights, std::size_t n, int lo, int hi);

struct AffineGrid {
  float d = 0, m = 0;  // exactly halves
};
// Scale and offset for x ~ d * q + m with integer q in [0, hi]. Never above the error of the span from minimum to maximum.
AffineGrid search_affine(const float* x, const float* weights, std::size_t n, int hi);

}  // namespace nibble
