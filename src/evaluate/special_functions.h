// SPDX-License-Identifier: Apache-2.0
//
// The distribution functions that intervals and tests of counts need. Pure functions, safe from many threads.
//
//   double p = mcnemar_p(3, 12);
#pragma once

#include <cstdint>

namespace nibble {

// P(X <= x) for a Beta(a, b) variable: the regularised incomplete beta function, by its continued fraction
// (DLMF 8.17.22). a, b > 0.
double beta_probability(double x, double a, double b);

// The x with beta_probability(x, a, b) = share, 0 < share < 1.
double beta_quantile(double share, double a, double b);

// P(X <= x) of the standard normal.
double normal_probability(double x);

struct ShareBounds {
  double low = 0, high = 1;
};
// What share of a population is plausible when `events` of `trials` showed it: each bound is missed with probability
// `tail` at most (Clopper and Pearson 1934). Counts need not be whole: correlated observations count for fewer.
ShareBounds share_bounds(double events, double trials, double tail);

// McNemar's exact test: the probability of counts at least as uneven as these if a change for the worse and for the
// better were equally likely. 1 when nothing changed.
double mcnemar_p(std::uint64_t to_wrong, std::uint64_t to_right);

}  // namespace nibble
