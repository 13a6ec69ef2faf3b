// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/random.h"
#include "calibrate/adequacy.h"
#include "calibrate/site_accumulator.h"
#include "kernels/chosen_isa.h"
#include "nibble/error.h"

namespace nibble {
namespace {

std::vector<float> inputs(std::size_t tokens, std::size_t width) {
  Random random(1);
  std::vector<float> x(tokens * width);
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = i % width == 2 ? 0.0F : static_cast<float>(random.normal() * (i % width == 5 ? 20 : 1));
  return x;
}

SiteStatistics accumulate(std::size_t threads, std::size_t tokens, std::size_t width, bool is_rounded = false) {
  Machine machine(chosen_isa(), threads);
  SiteAccumulator sums({3, "attention_in"}, width, {.second_moment = true, .rounded = is_rounded}, machine);
  const std::vector<float> x = inputs(tokens, width);
  sums.add(x.data(), tokens / 2);
  sums.add(x.data() + tokens / 2 * width, tokens - tokens / 2);
  return sums.finish();
}

TEST(SiteAccumulator, AgreesWithPlainSums) {
  constexpr std::size_t kTokens = 101, kWidth = 37;
  const std::vector<float> x = inputs(kTokens, kWidth);
  const SiteStatistics site = accumulate(1, kTokens, kWidth);
  EXPECT_EQ(site.name(), "layers.3.attention_in");
  EXPECT_EQ(site.count, kTokens);
  for (std::size_t i = 0; i < kWidth; ++i) {
    float peak = 0;
    for (std::size_t t = 0; t < kTokens; ++t) peak = std::max(peak, std::fabs(x[t * kWidth + i]));
    EXPECT_EQ(site.absmax[i], peak);
    for (std::size_t j = 0; j < kWidth; ++j) {
      double sum = 0, magnitude = 0;
      for (std::size_t t = 0; t < kTokens; ++t) {
        const double term = static_cast<double>(x[t * kWidth + i]) * static_cast<double>(x[t * kWidth + j]);
        sum += term, magnitude += std::fabs(term);
      }
      // A chain of kTokens fused additions: each rounds to 2^-24 of a partial sum of at most `magnitude`.
      EXPECT_NEAR(site.second_moment[i * kWidth + j], sum / kTokens, magnitude * 0x1p-24 + 1e-30);
      if (i == j) {
        EXPECT_NEAR(site.mean_square[i], sum / kTokens, sum / kTokens * 0x1p-23);
      }
    }
  }
  EXPECT_EQ(std::accumulate(site.histogram.begin(), site.histogram.end(), std::uint64_t{0}), kTokens * kWidth);
  EXPECT_EQ(site.histogram[0], kTokens);  // the column of zeros
  EXPECT_EQ(std::accumulate(site.negatives.begin(), site.negatives.end(), std::uint64_t{0}),
            static_cast<std::uint64_t>(std::ranges::count_if(x, [](float v) { return v < 0; })));
  EXPECT_EQ(site.lowest, *std::ranges::min_element(x));
  EXPECT_EQ(site.highest, *std::ranges::max_element(x));
}

TEST(SiteAccumulator, IsIndifferentToThreads) {
  const SiteStatistics one = accumulate(1, 64, 300), four = accumulate(4, 64, 300);
  EXPECT_EQ(one.mean_square, four.mean_square);
  EXPECT_EQ(one.second_moment, four.second_moment);
  EXPECT_EQ(one.histogram, four.histogram);
  EXPECT_EQ(one.negatives, four.negatives);
  EXPECT_EQ(one.lowest, four.lowest);
  EXPECT_EQ(one.highest, four.highest);
}

TEST(SiteAccumulator, RoundsToTwelveBitsWhereAsked) {
  constexpr std::size_t kTokens = 600, kWidth = 70;
  const SiteStatistics exact = accumulate(1, kTokens, kWidth), rounded = accumulate(1, kTokens, kWidth, true);
  EXPECT_EQ(rounded.second_moment, accumulate(3, kTokens, kWidth, true).second_moment);
  EXPECT_EQ(rounded.mean_square, exact.mean_square);
  for (std::size_t i = 0; i < kWidth; ++i)
    for (std::size_t j = 0; j < kWidth; ++j) {
      // Both factors off by at most half a step of their columns; Cauchy and Schwarz.
      const double a = std::sqrt(static_cast<double>(exact.mean_square[i])),
                   b = std::sqrt(static_cast<double>(exact.mean_square[j]));
      const double step_a = static_cast<double>(exact.absmax[i]) / 4094 * 1.001,
                   step_b = static_cast<double>(exact.absmax[j]) / 4094 * 1.001;
      EXPECT_NEAR(rounded.second_moment[i * kWidth + j], exact.second_moment[i * kWidth + j],
                  a * step_b + b * step_a + step_a * step_b + 1e-4 * a * b);
    }
}

TEST(SiteAccumulator, NamesTheSiteOfNumbersThatAreNone) {
  for (const float bad : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    Machine machine(chosen_isa(), 1);
    SiteAccumulator sums({3, "mlp_in"}, 2, {}, machine);
    const float x[] = {1, 2, 3, bad};
    try {
      sums.add(x, 2);
      ADD_FAILURE() << "nothing was thrown";
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::corrupt);
      EXPECT_NE(std::string_view(error.what()).find("layers.3.mlp_in"), std::string_view::npos) << error.what();
    }
  }
}

TEST(SiteAccumulator, CrossMomentsPairWhatBelongsTogether) {
  Machine machine(chosen_isa(), 1);
  const float y[] = {1, 2, 3, 4}, x[] = {1, 0, 2, 0, 1, 1};
  const std::vector<float> expected = {0.5F, 1.5F, 2.5F, 1, 2, 4};
  CrossAccumulator exact(2, 3, false, 0, machine), rounded(2, 3, true, 0, machine);
  RoundedRows integers;
  exact.add(y, x, 2, integers);
  integers.assign(x, 2, 3, machine.pool);
  rounded.add(y, x, 2, integers);
  EXPECT_EQ(exact.finish(), expected);
  const std::vector<float> near = rounded.finish();
  // Each number is off by at most half a step, 1 / 254 of its column's largest one.
  for (std::size_t i = 0; i < expected.size(); ++i) EXPECT_NEAR(near[i], expected[i], 4.0 * 2 * 2.01 / 254);
}

// What would be lost beside the first window's square is not where shards are summed by themselves.
TEST(SiteAccumulator, AddsShardsOfWindowsInOrder) {
  constexpr std::size_t kWindows = 2 * kMomentShards;
  Machine machine(chosen_isa(), 1);
  SiteAccumulator shards({0, "attention_in"}, 1, {.second_moment = true, .windows = kWindows}, machine),
      whole({0, "attention_in"}, 1, {.second_moment = true}, machine);
  CrossAccumulator crossed(1, 1, false, kWindows, machine);
  for (std::size_t window = 0; window < kWindows; ++window) {
    const float x = window == 0 ? 4096.0F : window == 1 ? 0.0F : 1.0F;
    shards.add(&x, 1);
    whole.add(&x, 1);
    crossed.add(&x, &x, 1, shards.last_rounded());
  }
  const SiteStatistics seen = shards.finish();
  EXPECT_EQ(seen.count, kWindows);
  EXPECT_EQ(seen.second_moment, std::vector<float>{(0x1p24F + kWindows - 2) / kWindows});
  EXPECT_EQ(seen.mean_square, seen.second_moment);
  EXPECT_EQ(crossed.finish(), seen.second_moment);
  EXPECT_EQ(whole.finish().second_moment, std::vector<float>{0x1p24F / kWindows});
}

TEST(ShardCounter, CutsWindowsIntoShardsOfNearlyTheSameSize) {
  for (const std::size_t windows : {std::size_t{1}, std::size_t{5}, kMomentShards, std::size_t{40}, std::size_t{0}}) {
    ShardCounter counter(windows);
    std::size_t shards = 1, size = 1, smallest = SIZE_MAX, largest = 0;
    for (std::size_t window = 0; window < std::max<std::size_t>(windows, 20); ++window, ++size)
      if (counter.advance()) {
        ++shards;
        smallest = std::min(smallest, size);
        largest = std::max(largest, size);
        size = 0;
      }
    EXPECT_EQ(shards, std::max<std::size_t>(1, std::min(windows, kMomentShards)));
    if (shards > 1) {
      EXPECT_LE(largest - smallest, 1u);
    }
  }
}

TEST(Histogram, BinsAndEdgesAgree) {
  for (const float x : {0.0F, 1e-9F, 0x1p-20F, 0.3F, -1.0F, 1.06F, 1.13F, 700.0F, 4095.0F}) {
    const std::size_t bin = histogram_bin(x);
    EXPECT_LE(histogram_edge(bin), std::fabs(x)) << x;
    EXPECT_GT(histogram_edge(bin + 1), std::fabs(x)) << x;
  }
  EXPECT_EQ(histogram_bin(1e30F), kHistogramBins - 1);
}

TEST(Adequacy, WarnsOfTooFewVectorsAndUnusedColumns) {
  Statistics statistics;
  statistics.sites.push_back(accumulate(1, 10, 37));
  statistics.sites.push_back(accumulate(1, 1000, 37));
  Machine machine(chosen_isa(), 1);
  const auto judged = judge_statistics(statistics, machine);
  EXPECT_NE(judged[0].warning.find("fewer vectors than columns"), std::string::npos);
  EXPECT_NE(judged[1].warning.find("1 of 37 columns"), std::string::npos);
  EXPECT_TRUE(std::isinf(judged[1].condition));
  EXPECT_NEAR(judged[1].peak_ratio, 20, 3);
}

}  // namespace
}  // namespace nibble
