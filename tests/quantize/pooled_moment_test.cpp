// SPDX-License-Identifier: Apache-2.0
//
// Experts that few tokens were sent to: how far what they saw is shrunk towards what all see, and that it helps.
#include "quantize/pooled_moment.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"

namespace nibble {
namespace {

SiteStatistics expert(std::uint64_t count, std::vector<float> moment) {
  SiteStatistics site;
  site.layer = 1;
  site.site = "experts_in";
  site.expert = 3;
  site.count = count;
  site.second_moment = std::move(moment);
  site.mean_square = {site.second_moment[0], site.second_moment[3]};
  return site;
}

// By hand: |S|^2 = 25 + 2 * 4 + 1, tr(S) = 6, |S - P|^2 = 1 + 2 * 4 + 1.
TEST(PooledMoment, TakesTheShareOfLeastExpectedError) {
  const SiteStatistics own = expert(70, {5, 2, 2, 1}), pooled = expert(1000, {4, 0, 0, 2});
  EXPECT_DOUBLE_EQ(pooled_share(own, pooled), (36.0 + 34) / 70 / 10);
  const SiteStatistics mixed = shrink(own, pooled, 0.1);
  EXPECT_EQ(mixed.second_moment, (std::vector<float>{4.9F, 1.8F, 1.8F, 1.1F}));
  EXPECT_EQ(mixed.mean_square, (std::vector<float>{4.9F, 1.1F}));
  EXPECT_EQ(mixed.count, 70u);
  EXPECT_EQ(pooled_share(expert(2, {5, 2, 2, 1}), pooled), 1);
  EXPECT_EQ(pooled_share(expert(0, {0, 0, 0, 0}), pooled), 1);
  SiteStatistics squares = own;
  squares.second_moment.clear();
  EXPECT_DOUBLE_EQ(pooled_share(squares, pooled), 2.0 * 26 / 70 / 2);
}

TEST(PooledMoment, PoolsByTheNumberOfVectors) {
  const SiteStatistics a = expert(30, {5, 2, 2, 1}), b = expert(10, {1, -2, -2, 9});
  const SiteStatistics* const both[] = {&a, &b};
  const SiteStatistics pooled = pool_experts(both);
  EXPECT_EQ(pooled.name(), "layers.1.experts_in");
  EXPECT_EQ(pooled.count, 40u);
  EXPECT_EQ(pooled.second_moment, (std::vector<float>{4, 1, 1, 3}));
  EXPECT_EQ(pooled.mean_square, (std::vector<float>{4, 3}));
}

TEST(PooledMoment, LeavesExpertsThatSawEnoughAlone) {
  std::vector<SiteStatistics> experts = {expert(8, {5, 2, 2, 1}), expert(7, {1, -2, -2, 9}), expert(0, {0, 0, 0, 0})};
  EXPECT_FALSE(saw_few(experts[0]));
  EXPECT_TRUE(saw_few(experts[1]));
  shrink_few(experts);
  EXPECT_EQ(experts[0].second_moment, (std::vector<float>{5, 2, 2, 1}));
  EXPECT_NE(experts[1].second_moment, (std::vector<float>{1, -2, -2, 9}));
  EXPECT_GT(experts[2].mean_square[0], 0);
}

TEST(PooledMoment, PoolsASiteWhereOneOfItsExpertsSawTooFew) {
  Statistics statistics;
  statistics.length = 64;
  statistics.sites = {expert(8, {5, 2, 2, 1}), expert(7, {1, -2, -2, 9})};
  SiteStatistics& other = statistics.sites.emplace_back(expert(8, {9, 0, 0, 9}));
  other.layer = 2;
  const std::optional<SiteStatistics> pooled = pool_where_few(statistics, 1, "experts_in");
  ASSERT_TRUE(pooled);
  EXPECT_EQ(pooled->count, 15u);
  EXPECT_FALSE(pool_where_few(statistics, 2, "experts_in"));
  EXPECT_FALSE(pool_where_few(statistics, 1, "experts_out"));
  statistics.length = 0;
  EXPECT_FALSE(pool_where_few(statistics, 1, "experts_in"));
}

// Vectors of known moments, few of them: on the average the mix is nearer to the truth than either of its parts.
TEST(PooledMoment, IsNearerToTheTruth) {
  constexpr std::size_t kWidth = 24, kVectors = 30, kTrials = 40;
  Random random(5);
  SiteStatistics pooled;
  pooled.count = 100000;
  pooled.second_moment.assign(kWidth * kWidth, 0.0F);
  pooled.mean_square.assign(kWidth, 1.0F);
  for (std::size_t i = 0; i < kWidth; ++i) pooled.second_moment[i * kWidth + i] = 1;
  const auto variance = [](std::size_t i) { return i < kWidth / 2 ? 1.6 : 0.6; };
  double own_error = 0, mixed_error = 0, pooled_error = 0;
  for (std::size_t trial = 0; trial < kTrials; ++trial) {
    SiteStatistics own;
    own.count = kVectors;
    own.second_moment.assign(kWidth * kWidth, 0.0F);
    for (std::size_t n = 0; n < kVectors; ++n) {
      std::vector<double> x(kWidth);
      for (std::size_t i = 0; i < kWidth; ++i) x[i] = random.normal() * std::sqrt(variance(i));
      for (std::size_t i = 0; i < kWidth; ++i)
        for (std::size_t j = 0; j < kWidth; ++j)
          own.second_moment[i * kWidth + j] += static_cast<float>(x[i] * x[j] / kVectors);
    }
    for (std::size_t i = 0; i < kWidth; ++i) own.mean_square.push_back(own.second_moment[i * kWidth + i]);
    const SiteStatistics mixed = shrink(own, pooled, pooled_share(own, pooled));
    const auto error = [&](const SiteStatistics& site) {
      double sum = 0;
      for (std::size_t i = 0; i < kWidth; ++i)
        for (std::size_t j = 0; j < kWidth; ++j) {
          const double off = static_cast<double>(site.second_moment[i * kWidth + j]) - (i == j ? variance(i) : 0);
          sum += off * off;
        }
      return sum;
    };
    own_error += error(own);
    mixed_error += error(mixed);
    pooled_error += error(pooled);
  }
  EXPECT_LT(mixed_error, 0.7 * own_error);
  EXPECT_LT(mixed_error, pooled_error);
}

TEST(Reordered, StatisticsFollowTheColumns) {
  SiteStatistics site = expert(3, {1, 2, 3, 4, 5, 6, 7, 8, 9});
  site.mean_square = {1, 5, 9};
  site.absmax = {10, 20, 30};
  const SiteStatistics moved = reordered(site, {2, 0, 1});
  EXPECT_EQ(moved.count, 3u);
  EXPECT_EQ(moved.mean_square, (std::vector<float>{site.mean_square[2], site.mean_square[0], site.mean_square[1]}));
  EXPECT_EQ(moved.absmax, (std::vector<float>{30, 10, 20}));
  EXPECT_EQ(moved.second_moment, (std::vector<float>{9, 7, 8, 3, 1, 2, 6, 4, 5}));
}

}  // namespace
}  // namespace nibble
