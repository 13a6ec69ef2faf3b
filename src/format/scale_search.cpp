// SPDX-License-Identifier: Apache-2.0
#include "format/scale_search.h"

#include <algorithm>
#include <cmath>

namespace nibble {

namespace {

// Rounds to even and clamps, staying in floating point so that loops vectorise.
float code_of(float scaled, float lo, float hi) { return clamp_float(scaled, lo, hi) + 12582912.0f - 12582912.0f; }

// Improves x ~ d * q + m by turns: codes for the grid, the least-squares grid for the codes.
class AffineSearch {
 public:
  AffineSearch(const float* x, const float* weights, std::size_t n, int hi)
      : x_(x),
        weights_(weights_or_ones(weights)),
        n_(n),
        high_(static_cast<float>(hi)),
        sum_w_(lane_sum(n, [this](std::size_t i) { return weights_[i]; })),
        sum_wx_(lane_sum(n, [this](std::size_t i) { return weights_[i] * x_[i]; })) {}

  float error_of(AffineGrid grid) const {
    const float inverse = inverse_of(grid.d);
    return lane_sum(n_, [&](std::size_t i) {
      const float error = x_[i] - (code_of((x_[i] - grid.m) * inverse, 0, high_) * grid.d + grid.m);
      return weights_[i] * error * error;
    });
  }

  // The normal equations of scale and offset, rounded to halves; d == 0 when they have no solution.
  AffineGrid refit(float inverse, float m) const {
    const auto code = [&](std::size_t i) { return code_of((x_[i] - m) * inverse, 0, high_); };
    const float sum_wq = lane_sum(n_, [&](std::size_t i) { return weights_[i] * code(i); });
    const float sum_wqq = lane_sum(n_, [&](std::size_t i) { return weights_[i] * code(i) * code(i); });
    const float sum_wxq = lane_sum(n_, [&](std::size_t i) { return weights_[i] * x_[i] * code(i); });
    const float determinant = sum_w_ * sum_wqq - sum_wq * sum_wq;
    if (!(determinant > 0)) return {};
    return {as_half((sum_w_ * sum_wxq - sum_wq * sum_wx_) / determinant),
            as_half((sum_wqq * sum_wx_ - sum_wq * sum_wxq) / determinant)};
  }

 private:
  const float* x_;
  const float* weights_;
  std::size_t n_;
  float high_, sum_w_, sum_wx_;
};

}  // namespace

Peak find_peak(const float* x, std::size_t n) {
  Peak peak;
  for (std::size_t i = 0; i < n; ++i) peak.magnitude = std::max(peak.magnitude, std::fabs(x[i]));
  for (std::size_t i = 0; i < n; ++i) {
    if (std::fabs(x[i]) == peak.magnitude) {
      peak.value = x[i];
      break;
    }
  }
  return peak;
}

float search_points(const float* x, const float* given_weights, std::size_t n, const UnitPoints& points,
                    const SearchRange& range, const SpanLoops& loops) {
  constexpr int kMaxSteps = 24;
  const SpanValues span{x, weights_or_ones(given_weights), n};
  const auto error_of = [&](float d) {
    double error;
    loops.errors(span, points, &d, 1, &error);
    return error;
  };
  const Peak peak = find_peak(x, n);
  float best_d = as_half(peak.value / range.low);
  if (!(peak.magnitude >= kMinNormal) || best_d == 0) return best_d;
  double best_error = error_of(best_d);

  float scales[2 * (kMaxSteps + 1)];
  LeastSquares sums[2 * (kMaxSteps + 1)];
  std::size_t count = 0;
  for (const float end : {range.low, range.high})
    for (int step = 0; step <= range.steps; ++step)
      scales[count++] = peak.value / (end * (range.inside + (range.outside - range.inside) * static_cast<float>(step) /
                                                                static_cast<float>(range.steps)));
  loops.least_squares(span, points, scales, count, sums);
  // Points fixed at those of a scale, the best scale is cross / square; it removes cross^2 / square of sum(w x^2).
  double removed = 0, wanted = 0;
  for (std::size_t k = 0; k < count; ++k) {
    if (!(sums[k].square > 0) || !(sums[k].cross / sums[k].square * sums[k].cross > removed)) continue;
    wanted = sums[k].cross / sums[k].square;
    removed = wanted * sums[k].cross;
  }
  for (int round = 0; round < 4; ++round) {
    const float d = as_half(static_cast<float>(wanted));
    if (d == 0) break;
    const double error = error_of(d);
    if (!(error < best_error)) break;
    best_error = error;
    best_d = d;
    loops.least_squares(span, points, &d, 1, sums);
    if (!(sums[0].square > 0)) break;
    wanted = sums[0].cross / sums[0].square;
  }
  return best_d;
}

AffineGrid search_affine(const float* x, const float* weights, std::size_t n, int hi) {
  const float high = static_cast<float>(hi);
  const auto [min, max] = std::minmax_element(x, x + n);
  AffineGrid best{as_half((*max - *min) / high), as_half(*min)};
  if (!(*max - *min >= kMinNormal) || best.d == 0) return best;
  const AffineSearch search(x, weights, n, hi);
  float best_error = search.error_of(best);
  const auto consider = [&](AffineGrid grid) {
    if (grid.d == 0) return false;
    const float error = search.error_of(grid);
    if (!(error < best_error)) return false;
    best_error = error;
    best = grid;
    return true;
  };
  // Each end of the range is tried from a third of a code outside the data to a code inside.
  const float step = (*max - *min) / high;
  for (int below = -1; below <= 3; ++below) {
    for (int above = -1; above <= 3; ++above) {
      const float low = *min + step * static_cast<float>(below) / 3, top = *max - step * static_cast<float>(above) / 3;
      AffineGrid grid = search.refit(high / (top - low), low);
      for (int round = 0; round < 2 && consider(grid); ++round) grid = search.refit(inverse_of(best.d), best.m);
    }
  }
  for (int round = 0; round < 4 && consider(search.refit(inverse_of(best.d), best.m)); ++round) {
  }
  return best;
}

}  // namespace nibble
