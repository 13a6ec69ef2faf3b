// SPDX-License-Identifier: Apache-2.0
#include "pipeline/net/score_ranks.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

// Pair by pair.
double counted_area(const std::vector<double>& scores, const std::vector<std::int64_t>& labels) {
  double pairs = 0, won = 0;
  for (std::size_t i = 0; i < scores.size(); ++i)
    for (std::size_t j = 0; j < scores.size(); ++j) {
      if (labels[i] != 1 || labels[j] != 0) continue;
      ++pairs;
      won += scores[i] > scores[j] ? 1 : scores[i] == scores[j] ? 0.5 : 0;
    }
  return won / pairs;
}

TEST(ScoreRanks, AreaIsTheShareOfPairsInOrder) {
  std::vector<double> scores;
  std::vector<std::int64_t> labels;
  for (std::size_t i = 0; i < 60; ++i) {
    labels.push_back(static_cast<std::int64_t>(i * i % 3 == 0));
    scores.push_back(static_cast<double>(i * 37 % 11) + (labels.back() == 1 ? 2 : 0));
  }
  EXPECT_DOUBLE_EQ(*area_under_curve(scores, labels), counted_area(scores, labels));
  EXPECT_DOUBLE_EQ(*area_under_curve(std::vector<double>{1, 2, 3}, std::vector<std::int64_t>{0, 1, 1}), 1);
  EXPECT_FALSE(area_under_curve(std::vector<double>{1, 2}, std::vector<std::int64_t>{1, 1}));
  EXPECT_FALSE(area_under_curve(std::vector<double>{1, 2}, std::vector<std::int64_t>{0, 2}));
}

// By numpy.corrcoef of ranks that were counted.
TEST(ScoreRanks, CorrelationIsSpearmans) {
  const std::vector<double> a = {1, 2, 2, 4, 9, -3, 4}, b = {2, 1, 5, 5, 7, 0.5, 3};
  EXPECT_NEAR(*rank_correlation(a, b), 0.8257228238447705, 1e-12);
  EXPECT_EQ(ranks_of(a), (std::vector<double>{2, 3.5, 3.5, 5.5, 7, 1, 5.5}));
  EXPECT_NEAR(*rank_correlation(a, a), 1, 1e-12);
  EXPECT_FALSE(rank_correlation(a, std::vector<double>(7, 1)));
}

}  // namespace
}  // namespace nibble
