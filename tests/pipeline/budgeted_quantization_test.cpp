// SPDX-License-Identifier: Apache-2.0
#include "pipeline/budget/budgeted_quantization.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace nibble {
namespace {

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

std::optional<double> next_of(std::vector<JudgedExpectation> tried) { return next_expectation(tried, 0.02); }

TEST(NextExpectation, StopsWhereTheLimitIsMetClosely) {
  EXPECT_FALSE(next_of({{0.02, 0.0195}}));
  EXPECT_FALSE(next_of({{0.02, 0.01}, {0.0204, 0.03}}));  // nothing left between what was met and missed
}

TEST(NextExpectation, CorrectsInProportion) {
  EXPECT_NEAR(*next_of({{0.02, 0.01}}), 0.04, 0.002);  // lost half as much as expected
  EXPECT_NEAR(*next_of({{0.02, 0.04}}), 0.01, 0.001);
  EXPECT_LT(*next_of({{0.02, 0.04}}), 0.01);
  const double between = *next_of({{0.01, 0.01}, {0.04, 0.04}});
  EXPECT_GT(between, 0.015);
  EXPECT_LT(between, 0.02);
}

// Whatever the loss does between what was met and what was missed, rounds close in on the limit.
TEST(NextExpectation, ClosesInOnTheLimitOfAnyGrowingLoss) {
  for (const double power : {0.5, 1.0, 1.7, 2.5})
    for (const double factor : {0.2, 1.0, 4.0}) {
      std::vector<JudgedExpectation> tried;
      double expected = 0.02, met = 0;
      for (; tried.size() < 30;) {
        tried.push_back({expected, factor * std::pow(expected / 0.02, power) * 0.02});
        if (tried.back().measured <= 0.02) met = std::max(met, tried.back().measured);
        const auto next = next_of(tried);
        if (!next) break;
        expected = *next;
      }
      EXPECT_LE(tried.size(), 6u) << power << " " << factor;
      EXPECT_GT(met, 0.9 * 0.02) << power << " " << factor;
    }
}

}  // namespace
}  // namespace nibble
