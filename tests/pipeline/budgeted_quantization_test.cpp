// SPDX-License-Identifier: Apache-2.0
#include "pipeline/budgeted_quantization.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace nibble {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();

TEST(HoldOut, CutsTheEndsOfTextsAtLines) {
  const auto [rest, held] = hold_out({{"a", "one\ntwo\nthree\nfour\n"}, {"b", "no line here"}}, 0.4);
  EXPECT_EQ(rest[0].text, "one\ntwo\n");
  EXPECT_EQ(held[0].text, "three\nfour\n");
  EXPECT_EQ(held[0].name, "a (held out)");
  EXPECT_EQ(rest[1].text + held[1].text, "no line here");
  EXPECT_EQ(rest[1].text.size(), 7u);
}

TEST(HoldOut, DoesNotCutWithinACharacter) {
  const auto [rest, held] = hold_out({{"a", "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"}}, 0.6);
  EXPECT_EQ(rest[0].text.size() % 2, 0u);
  EXPECT_EQ(rest[0].text.size() + held[0].text.size(), 8u);
}

TEST(NextExpectation, StopsWhereTheLimitIsMetClosely) {
  EXPECT_FALSE(next_expectation(0.02, 0.0195, 0.02, 0.02, kNever));
  EXPECT_FALSE(next_expectation(0.02, 0.01, 0.02, 0.02, 0.0204));  // nothing left between what was met and missed
}

TEST(NextExpectation, CorrectsInProportion) {
  EXPECT_NEAR(*next_expectation(0.02, 0.01, 0.02, 0.02, kNever), 0.04, 0.002);  // lost half as much as expected
  EXPECT_NEAR(*next_expectation(0.02, 0.04, 0.02, 0, 0.02), 0.01, 0.001);
  EXPECT_LT(*next_expectation(0.02, 0.04, 0.02, 0, 0.02), 0.01);
}

// Whatever the loss does between what was met and what was missed, rounds close in on the limit.
TEST(NextExpectation, ClosesInOnTheLimitOfAnyGrowingLoss) {
  for (const double power : {0.5, 1.0, 1.7, 2.5})
    for (const double factor : {0.2, 1.0, 4.0}) {
      const auto loss = [&](double expected) { return factor * std::pow(expected / 0.02, power) * 0.02; };
      double expected = 0.02, met = 0, missed = kNever;
      int rounds = 0;
      for (; rounds < 30; ++rounds) {
        const double measured = loss(expected);
        (measured <= 0.02 ? met : missed) = expected;
        const auto next = next_expectation(expected, measured, 0.02, met, missed);
        if (!next) break;
        expected = *next;
      }
      EXPECT_LE(rounds, 8) << power << " " << factor;
      EXPECT_GT(met, 0) << power << " " << factor;
      EXPECT_GT(loss(met), 0.85 * 0.02) << power << " " << factor;
    }
}

}  // namespace
}  // namespace nibble
