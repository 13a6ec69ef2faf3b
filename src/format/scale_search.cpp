// SPDX-License-Identifier: Apache-2.0
#include "format/scale_search.h"

#include <algorithm>
#include <cmath>

#include "format/scale.h"

namespace nibble {

namespace {

float weight_at(const float* weights, std::size_t i) { return weights == nullptr ? 1.0f : weights[i]; }

// Rounds to even and clamps, staying in floating point so that loops vectorise.
float code_of(float scaled, float lo, float hi) { return std::clamp(scaled, lo, hi) + 12582912.0f - 12582912.0f; }

float as_half(float value) { return f16_to_f32(to_f16_saturated(value)); }

float inverse_of(float d) { return std::fabs(d) >= kMinNormal ? 1.0f / d : 0.0f; }

float symmetric_error(const float* x, const float* weights, std::size_t n, float d, float lo, float hi) {
  const float inverse = inverse_of(d);
  return lane_sum(n, [&](std::size_t i) {
    const float error = x[i] - d * code_of(x[i] * inverse, lo, hi);
    return weight_at(weights, i) * error * error;
  });
}

// Codes fixed at x * inverse, the best scale is sum(w x q) / sum(w q^2), and it removes sum(w x q)^2 / sum(w q^2) of sum(w x^2).
struct Fitted {
  float d = 0, removed = 0;
};
Fitted refit_symmetric(const float* x, const float* weights, std::size_t n, float inverse, float lo, float hi) {
  const float cross = lane_sum(n, [&](std::size_t i) { return weight_at(weights, i) * x[i] * code_of(x[i] * inverse, lo, hi); });
  const float square = lane_sum(n, [&](std::size_t i) {
    const float q = code_of(x[i] * inverse, lo, hi);
    return weight_at(weights, i) * q * q;
  });
  if (!(square > 0)) return {};
  return {cross / square, cross / square * cross};
}

float affine_error(const float* x, const float* weights, std::size_t n, AffineGrid grid, float hi) {
  const float inverse = inverse_of(grid.d);
  return lane_sum(n, [&](std::size_t i) {
    const float error = x[i] - (code_of((x[i] - grid.m) * inverse, 0, hi) * grid.d + grid.m);
    return weight_at(weights, i) * error * error;
  });
}

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

float search_symmetric(const float* x, const float* weights, std::size_t n, int lo, int hi) {
  const float low = static_cast<float>(lo), high = static_cast<float>(hi);
  const Peak peak = find_peak(x, n);
  float best_d = as_half(peak.value / low);
  if (!(peak.magnitude >= kMinNormal) || best_d == 0) return best_d;
  float best_error = symmetric_error(x, weights, n, best_d, low, high);

  // The peak lands between half a code inside the range's end and a code and a half beyond it, on either side of zero.
  Fitted best;
  for (const float end : {low, high}) {
    for (int step = -5; step <= 15; ++step) {
      const float magnitude = std::fabs(end) + 0.1f * static_cast<float>(step);
      const Fitted fitted = refit_symmetric(x, weights, n, std::copysign(magnitude, end) / peak.value, low, high);
      if (fitted.removed > best.removed) best = fitted;
    }
  }
  for (int round = 0; round < 3 && best.d != 0; ++round) {
    const float d = as_half(best.d);
    const float error = symmetric_error(x, weights, n, d, low, high);
    if (!(error < best_error)) break;
    best_error = error;
    best_d = d;
    best = refit_symmetric(x, weights, n, inverse_of(d), low, high);
  }
  return best_d;
}

AffineGrid search_affine(const float* x, const float* weights, std::size_t n, int hi) {
  const float high = static_cast<float>(hi);
  const auto [min, max] = std::minmax_element(x, x + n);
  AffineGrid best{as_half((*max - *min) / high), as_half(*min)};
  if (!(*max - *min >= kMinNormal) || best.d == 0) return best;
  float best_error = affine_error(x, weights, n, best, high);
  const float sum_w = lane_sum(n, [&](std::size_t i) { return weight_at(weights, i); });
  const float sum_wx = lane_sum(n, [&](std::size_t i) { return weight_at(weights, i) * x[i]; });
  if (!(sum_w > 0)) return best;

  // Codes fixed, scale and offset solve the two normal equations.
  const auto refit = [&](float inverse, float m) {
    const auto code = [&](std::size_t i) { return code_of((x[i] - m) * inverse, 0, high); };
    const float sum_wq = lane_sum(n, [&](std::size_t i) { return weight_at(weights, i) * code(i); });
    const float sum_wqq = lane_sum(n, [&](std::size_t i) { return weight_at(weights, i) * code(i) * code(i); });
    const float sum_wxq = lane_sum(n, [&](std::size_t i) { return weight_at(weights, i) * x[i] * code(i); });
    const float determinant = sum_w * sum_wqq - sum_wq * sum_wq;
    if (!(determinant > 0)) return best;
    return AffineGrid{as_half((sum_w * sum_wxq - sum_wq * sum_wx) / determinant), as_half((sum_wqq * sum_wx - sum_wq * sum_wxq) / determinant)};
  };
  const auto consider = [&](AffineGrid grid) {
    if (grid.d == 0) return false;
    const float error = affine_error(x, weights, n, grid, high);
    if (!(error < best_error)) return false;
    best_error = error;
    best = grid;
    return true;
  };
  for (int step = -5; step <= 15; ++step) consider(refit((high + 0.1f * static_cast<float>(step)) / (*max - *min), *min));
  for (int round = 0; round < 4 && consider(refit(inverse_of(best.d), best.m)); ++round) {
  }
  return best;
}

}  // namespace nibble
