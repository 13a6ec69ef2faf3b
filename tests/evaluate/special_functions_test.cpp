// SPDX-License-Identifier: Apache-2.0
//
// Expected values are SciPy 1.17's: stats.beta, stats.binomtest, stats.norm.
#include "evaluate/special_functions.h"

#include <gtest/gtest.h>

#include <cmath>

namespace nibble {
namespace {

TEST(Beta, Probability) {
  EXPECT_NEAR(beta_probability(0.3, 2.5, 7), 0.6412224629717214, 1e-13);
  EXPECT_NEAR(beta_probability(0.5, 2000, 2100), 0.9408529223392285, 1e-10);
  EXPECT_EQ(beta_probability(0, 2, 3), 0);
  EXPECT_EQ(beta_probability(1, 2, 3), 1);
}

TEST(Beta, Quantile) {
  EXPECT_NEAR(beta_quantile(0.025, 3, 998), 0.0006190999316495713, 1e-15);
  for (const double share : {0.001, 0.5, 0.999})
    EXPECT_NEAR(beta_probability(beta_quantile(share, 0.5, 40), 0.5, 40), share, 1e-12);
}

TEST(Normal, Probability) {
  EXPECT_NEAR(normal_probability(-1.3), 0.09680048458561036, 1e-15);
  EXPECT_EQ(normal_probability(0), 0.5);
}

TEST(ShareBounds, AreClopperAndPearsons) {
  const ShareBounds bounds = share_bounds(2, 50, 0.025);
  EXPECT_NEAR(bounds.low, 0.004881433426136251, 1e-12);
  EXPECT_NEAR(bounds.high, 0.13713762560396867, 1e-12);
  EXPECT_EQ(share_bounds(0, 50, 0.025).low, 0);
  EXPECT_EQ(share_bounds(50, 50, 0.025).high, 1);
  EXPECT_NEAR(share_bounds(50, 50, 0.05).low, std::pow(0.05, 1.0 / 50), 1e-12);
}

TEST(McNemar, IsTheBinomialTest) {
  EXPECT_NEAR(mcnemar_p(3, 12), 0.03515625, 1e-12);
  EXPECT_NEAR(mcnemar_p(12, 3), 0.03515625, 1e-12);
  EXPECT_NEAR(mcnemar_p(0, 7), 0.015625, 1e-14);
  EXPECT_NEAR(mcnemar_p(120, 80), 0.005685155996750306, 1e-12);
  EXPECT_EQ(mcnemar_p(0, 0), 1);
  EXPECT_EQ(mcnemar_p(5, 5), 1);
}

}  // namespace
}  // namespace nibble
