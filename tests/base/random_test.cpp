// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

// First outputs for state words from SplitMix64(0), computed with an independent implementation in Python.
TEST(Random, SequenceIsFixed) {
  Random random(0);
  EXPECT_EQ(random.next(), 11091344671253066420u);
  EXPECT_EQ(random.next(), 13793997310169335082u);
  EXPECT_EQ(random.next(), 1900383378846508768u);
}

TEST(Random, NormalHasItsMoments) {
  Random random(7);
  double sum = 0, squares = 0;
  constexpr int kCount = 100000;
  for (int i = 0; i < kCount; ++i) {
    const double x = random.normal();
    sum += x;
    squares += x * x;
  }
  // Standard errors 1/sqrt(n) and sqrt(2/n); five of them.
  EXPECT_NEAR(sum / kCount, 0, 5 / std::sqrt(double{kCount}));
  EXPECT_NEAR(squares / kCount, 1, 5 * std::sqrt(2.0 / kCount));
}

}  // namespace
}  // namespace nibble
