// SPDX-License-Identifier: Apache-2.0
#include "evaluate/special_functions.h"

#include <algorithm>
#include <cmath>

namespace nibble {

namespace {

// The continued fraction by Lentz's method; converges fast for x < (a + 1) / (a + b + 2).
double beta_fraction(double x, double a, double b) {
  constexpr double kTiny = 1e-300;
  const auto away_from_zero = [](double value) { return std::fabs(value) < kTiny ? kTiny : value; };
  double c = 1, d = 1 / away_from_zero(1 - (a + b) * x / (a + 1)), result = d;
  for (int m = 1; m < 10000; ++m) {
    const double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / away_from_zero(1 + even * d);
    c = away_from_zero(1 + even / c);
    result *= c * d;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / away_from_zero(1 + odd * d);
    c = away_from_zero(1 + odd / c);
    result *= c * d;
    if (std::fabs(c * d - 1) < 1e-15) break;
  }
  return result;
}

}  // namespace

double beta_probability(double x, double a, double b) {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  const double front =
      std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x));
  if (x < (a + 1) / (a + b + 2)) return front * beta_fraction(x, a, b) / a;
  return 1 - front * beta_fraction(1 - x, b, a) / b;
}

double beta_quantile(double share, double a, double b) {
  double low = 0, high = 1;
  for (int i = 0; i < 200 && low < high; ++i) {
    const double middle = low + (high - low) / 2;
    if (middle == low || middle == high) break;
    (beta_probability(middle, a, b) < share ? low : high) = middle;
  }
  return low + (high - low) / 2;
}

double normal_probability(double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; }

ShareBounds share_bounds(double events, double trials, double tail) {
  ShareBounds bounds;
  if (events > 0) bounds.low = beta_quantile(tail, events, trials - events + 1);
  if (events < trials) bounds.high = beta_quantile(1 - tail, events + 1, trials - events);
  return bounds;
}

double mcnemar_p(std::uint64_t to_wrong, std::uint64_t to_right) {
  const double fewer = static_cast<double>(std::min(to_wrong, to_right)),
               more = static_cast<double>(std::max(to_wrong, to_right));
  if (more == 0) return 1;
  // P(Binomial(n, 1/2) <= k) = I_{1/2}(n - k, k + 1).
  return std::min(1.0, 2 * beta_probability(0.5, more, fewer + 1));
}

}  // namespace nibble
