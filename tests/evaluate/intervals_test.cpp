// SPDX-License-Identifier: Apache-2.0
#include "evaluate/intervals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <numeric>

#include "base/random.h"

namespace nibble {
namespace {

TEST(Quantile, InterpolatesBetweenNeighbours) {
  const std::vector<double> values = {0, 1, 2, 3, 10};
  EXPECT_EQ(quantile(values, 0), 0);
  EXPECT_EQ(quantile(values, 0.5), 2);
  EXPECT_NEAR(quantile(values, 0.9), 3 + 0.6 * 7, 1e-12);
  EXPECT_EQ(quantile(values, 1), 10);
  EXPECT_EQ(quantile(std::vector<double>{4}, 0.999), 4);
}

TEST(Transformed, HasNoIntervalWhereABoundLeavesTheNumbers) {
  const auto perplexity = [](double x) { return std::exp(x); };
  Figure nll{
      .value = 9, .certainty = Certainty::interval, .low = 8, .high = 10, .lower_bound = 8.5, .upper_bound = 9.5};
  EXPECT_EQ(transformed(nll, perplexity, 1).certainty, Certainty::interval);
  nll.high = 2000;
  EXPECT_EQ(transformed(nll, perplexity, 1).certainty, Certainty::too_few_blocks);
  nll.high = 10;
  nll.upper_bound = 2000;
  EXPECT_EQ(transformed(nll, perplexity, 1).certainty, Certainty::too_few_blocks);
}

TEST(Blocks, AreJoinedWithinTheirStratum) {
  const Blocks blocks = equal_blocks({5, 0, 3}, 10);
  EXPECT_EQ(blocks.ends, (std::vector<std::size_t>{10, 20, 30, 40, 50, 60, 70, 80}));
  EXPECT_EQ(blocks.strata, (std::vector<std::size_t>{5, 8}));
  const Blocks joined = joined_blocks(blocks, 2);
  EXPECT_EQ(joined.ends, (std::vector<std::size_t>{20, 50, 80}));
  EXPECT_EQ(joined.strata, (std::vector<std::size_t>{2, 3}));
  EXPECT_EQ(joined_blocks(blocks, 1).ends, blocks.ends);
}

// A first-order autoregressive series of unit variance, after its start has been forgotten.
std::vector<double> autoregressive(std::size_t count, double memory, Random& random) {
  std::vector<double> values(count);
  double state = random.normal();
  for (double& value : values) {
    state = memory * state + std::sqrt(1 - memory * memory) * random.normal();
    value = state;
  }
  return values;
}

std::vector<double> log_normal(std::size_t count, double memory, Random& random) {
  std::vector<double> values = autoregressive(count, memory, random);
  for (double& value : values) value = std::exp(value);
  return values;
}

TEST(IndependentLength, JoinsBlocksUntilTheyForgetEachOther) {
  Random random(4);
  const Blocks blocks = equal_blocks({512}, 8);
  EXPECT_EQ(independent_length(autoregressive(512 * 8, 0, random), blocks), 1u);
  EXPECT_GE(independent_length(autoregressive(512 * 8, 0.98, random), blocks), 4u);
  // Never below sixty.
  EXPECT_EQ(independent_length(autoregressive(100 * 8, 0.999, random), equal_blocks({100}, 8)), 1u);
  // Two texts that differ in level are no reason to join.
  std::vector<double> levels = autoregressive(512 * 8, 0, random);
  for (std::size_t i = levels.size() / 2; i < levels.size(); ++i) levels[i] += 100;
  EXPECT_EQ(independent_length(levels, equal_blocks({256, 256}, 8)), 1u);
}

class Bootstrap : public testing::Test {
 protected:
  ThreadPool pool{2};
  Random random{17};
  BootstrapOptions options{};
};

TEST_F(Bootstrap, ThreadsDoNotMatterAndSeedsDo) {
  const std::vector<double> values = log_normal(60 * 16, 0.5, random);
  const Blocks blocks = equal_blocks({60}, 16);
  const std::vector<double> shares = {0.5, 0.9};
  ThreadPool one(1), four(4);
  const Figure a = bootstrap_mean(values, blocks, options, one), b = bootstrap_mean(values, blocks, options, four);
  EXPECT_EQ(a.low, b.low);
  EXPECT_EQ(a.upper_bound, b.upper_bound);
  EXPECT_NE(a.low, bootstrap_mean(values, blocks, {.seed = 2}, one).low);
  const auto p = bootstrap_quantiles(values, blocks, shares, options, one),
             q = bootstrap_quantiles(values, blocks, shares, options, four);
  EXPECT_EQ(p[1].low, q[1].low);
  EXPECT_EQ(p[0].high, q[0].high);
}

TEST_F(Bootstrap, OfAMeanAgreesWithTheNormalTheoryWhereThatHolds) {
  const std::vector<double> values = autoregressive(1000 * 4, 0, random);
  const Figure figure = bootstrap_mean(values, equal_blocks({1000}, 4), options, pool);
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / 4000;
  EXPECT_NEAR(figure.value, mean, 1e-12);
  EXPECT_NEAR(figure.gaussian_error, 1 / std::sqrt(4000.0), 0.03 / std::sqrt(4000.0));
  // The block error equals the token error here; 1999 draws know their 2.5 % point to about 4 %.
  EXPECT_NEAR(figure.high - figure.value, 1.96 * figure.gaussian_error, 0.15 * figure.gaussian_error);
  EXPECT_NEAR(figure.value - figure.low, 1.96 * figure.gaussian_error, 0.15 * figure.gaussian_error);
  EXPECT_NEAR(figure.upper_bound - figure.value, 1.645 * figure.gaussian_error, 0.15 * figure.gaussian_error);
  EXPECT_LT(figure.low, figure.lower_bound);
}

TEST_F(Bootstrap, SeesTheCorrelationThatTheGaussianErrorMisses) {
  const std::vector<double> values = autoregressive(100 * 64, 0.9, random);
  const Figure figure = bootstrap_mean(values, equal_blocks({100}, 64), options, pool);
  EXPECT_GT(figure.high - figure.low, 2.5 * 2 * 1.96 * figure.gaussian_error);  // sqrt((1 + 0.9) / (1 - 0.9)) = 4.4
}

TEST_F(Bootstrap, SeveralMeansAreThoseOfEachAlone) {
  const std::vector<double> a = autoregressive(60 * 8, 0.3, random), b = log_normal(60 * 8, 0.3, random);
  const Blocks blocks = equal_blocks({60}, 8);
  const auto both = bootstrap_means({a, b}, blocks, options, pool);
  EXPECT_EQ(both[0].low, bootstrap_mean(a, blocks, options, pool).low);
  EXPECT_EQ(both[1].high, bootstrap_mean(b, blocks, options, pool).high);
}

TEST_F(Bootstrap, StrataKeepTheirShares) {
  // Two constant texts: what is in them is certain, so the mean is.
  std::vector<double> values(80 * 4, 1);
  std::fill(values.begin() + 160, values.end(), 9);
  const Figure split = bootstrap_mean(values, equal_blocks({40, 40}, 4), options, pool);
  EXPECT_EQ(split.low, 5);
  EXPECT_EQ(split.high, 5);
  EXPECT_LT(bootstrap_mean(values, equal_blocks({80}, 4), options, pool).low, 4.5);
}

TEST_F(Bootstrap, TooFew) {
  const std::vector<double> values = autoregressive(29 * 100, 0, random);
  const Figure mean = bootstrap_mean(values, equal_blocks({29}, 100), options, pool);
  EXPECT_EQ(mean.certainty, Certainty::too_few_blocks);
  EXPECT_GT(mean.gaussian_error, 0);
  EXPECT_EQ(bootstrap_quantiles(values, equal_blocks({29}, 100), std::vector<double>{0.5}, options, pool)[0].certainty,
            Certainty::too_few_blocks);
  EXPECT_EQ(bootstrap_mean(autoregressive(30 * 100, 0, random), equal_blocks({30}, 100), options, pool).certainty,
            Certainty::interval);
}

TEST_F(Bootstrap, AFarQuantileNeedsExceedancesInManyBlocks) {
  const Blocks blocks = equal_blocks({40}, 500);
  const std::vector<double> far = {0.999};
  std::vector<double> values = autoregressive(40 * 500, 0, random);
  EXPECT_EQ(bootstrap_quantiles(values, blocks, far, options, pool)[0].certainty, Certainty::interval);
  // 19 values lie beyond the quantile when there are fewer.
  EXPECT_EQ(
      bootstrap_quantiles(std::span(values).first(38 * 500), equal_blocks({38}, 500), far, options, pool)[0].certainty,
      Certainty::too_few_exceedances);
  // The same count, but all of it in nine blocks.
  for (double& value : values) value = std::min(value, 2.0);
  for (std::size_t i = 0; i < 27; ++i) values[i % 9 * 500 + i] = 100 + static_cast<double>(i);
  EXPECT_EQ(bootstrap_quantiles(values, blocks, far, options, pool)[0].certainty, Certainty::too_few_exceedances);
}

TEST_F(Bootstrap, QuantilesAreThoseOfSortedResamples) {
  // Against a plain computation that sorts every resample; shares at the edges walk out of the band that is searched
  // first.
  const std::size_t num_blocks = 40, size = 7;
  std::vector<double> values = log_normal(num_blocks * size, 0.9, random);
  for (std::size_t i = 0; i < values.size(); i += 3) values[i] = std::round(values[i]);  // ties
  const Blocks blocks = equal_blocks({num_blocks}, size);
  const std::vector<double> shares = {0.11, 0.5, 0.89};
  const auto figures = bootstrap_quantiles(values, blocks, shares, {.replicates = 199, .seed = 3}, pool);
  for (std::size_t k = 0; k < shares.size(); ++k) {
    std::vector<double> drawn;
    for (std::uint64_t replicate = 0; replicate < 199; ++replicate) {
      Random generator(3 * 0x9e3779b97f4a7c15u + replicate);
      std::vector<double> sample;
      for (std::size_t i = 0; i < num_blocks; ++i) {
        const std::size_t block = generator.below(num_blocks);
        sample.insert(sample.end(), values.begin() + static_cast<std::ptrdiff_t>(block * size),
                      values.begin() + static_cast<std::ptrdiff_t>(block * size + size));
      }
      std::sort(sample.begin(), sample.end());
      drawn.push_back(quantile(sample, shares[k]));
    }
    std::sort(drawn.begin(), drawn.end());
    // Correlated neighbours stretch both ends alike.
    const double value = figures[k].value,
                 factor = (figures[k].high - figures[k].low) / (quantile(drawn, 0.975) - quantile(drawn, 0.025));
    EXPECT_GE(factor, 1 - 1e-12) << shares[k];
    EXPECT_NEAR(figures[k].high, value + factor * (quantile(drawn, 0.975) - value), 1e-12) << shares[k];
    EXPECT_LT(factor, 1.5) << shares[k];
    EXPECT_NEAR(figures[k].low, value + factor * (quantile(drawn, 0.025) - value), 1e-12) << shares[k];
  }
}

TEST_F(Bootstrap, RareEventsAreBoundedAsCounts) {
  const Blocks blocks = equal_blocks({60}, 100);
  std::vector<double> values(6000, 1);
  const Figure all = bootstrap_mean(values, blocks, options, pool);
  EXPECT_EQ(all.high, 1);
  EXPECT_NEAR(all.low, std::pow(0.025, 1.0 / 6000), 1e-9);
  EXPECT_NEAR(all.lower_bound, std::pow(0.05, 1.0 / 6000), 1e-9);
  for (const std::size_t i : {50u, 1250u, 4470u}) values[i] = 0;
  const Figure few = bootstrap_mean(values, blocks, options, pool);
  EXPECT_LT(few.low, 1 - 3.0 / 6000);
  EXPECT_GT(few.low, 1 - 10.0 / 6000);
  // Nine events in one block are worth less than nine in nine.
  std::vector<double> clustered(6000, 0), spread(6000, 0);
  for (std::size_t i = 0; i < 9; ++i) clustered[300 + i] = spread[300 + 500 * i] = 1;
  EXPECT_GT(bootstrap_mean(clustered, blocks, options, pool).high,
            1.5 * bootstrap_mean(spread, blocks, options, pool).high);
}

TEST_F(Bootstrap, OfNoVariationIsExact) {
  const std::vector<double> values(60 * 4, 0.25);
  const Figure figure = bootstrap_mean(values, equal_blocks({60}, 4), options, pool);
  EXPECT_EQ(figure.certainty, Certainty::interval);
  EXPECT_EQ(figure.low, 0.25);
  EXPECT_EQ(figure.upper_bound, 0.25);
}

// Nominal 95 % must cover 93 to 97 %. 1000 repetitions know a coverage to 0.7 %.
struct Coverage {
  const char* name;
  std::function<std::vector<double>(std::size_t, Random&)> draw;
  double mean, median;
  std::size_t num_blocks, block_size;
};

class CoverageOf : public testing::TestWithParam<Coverage> {};
INSTANTIATE_TEST_SUITE_P(
    Series, CoverageOf,
    testing::Values(
        Coverage{"autoregressive", [](std::size_t n, Random& r) { return autoregressive(n, 0.8, r); }, 0, 0, 60, 32},
        Coverage{"strongly_autoregressive", [](std::size_t n, Random& r) { return autoregressive(n, 0.95, r); }, 0, 0,
                 100, 64},
        Coverage{"log_normal", [](std::size_t n, Random& r) { return log_normal(n, 0, r); }, std::exp(0.5), 1, 60, 32},
        Coverage{"log_normal_autoregressive", [](std::size_t n, Random& r) { return log_normal(n, 0.8, r); },
                 std::exp(0.5), 1, 60, 64}),
    [](const auto& param) { return std::string(param.param.name); });

TEST_P(CoverageOf, MeanAndMedian) {
  constexpr std::size_t kRepetitions = 1000;
  const Coverage& series = GetParam();
  const Blocks blocks = equal_blocks({series.num_blocks}, series.block_size);
  ThreadPool pool(2);
  Random random(2026);
  std::size_t mean_covered = 0, median_covered = 0, upper_covered = 0, lower_covered = 0;
  for (std::size_t i = 0; i < kRepetitions; ++i) {
    const std::vector<double> values = series.draw(series.num_blocks * series.block_size, random);
    const BootstrapOptions options{.replicates = 399, .seed = i};
    const Figure mean = bootstrap_mean(values, blocks, options, pool);
    mean_covered += mean.low <= series.mean && series.mean <= mean.high;
    upper_covered += series.mean <= mean.upper_bound;
    lower_covered += mean.lower_bound <= series.mean;
    const Figure median = bootstrap_quantiles(values, blocks, std::vector<double>{0.5}, options, pool)[0];
    median_covered += median.low <= series.median && series.median <= median.high;
  }
  const auto percent = [](std::size_t covered) { return 100.0 * static_cast<double>(covered) / kRepetitions; };
  RecordProperty("coverage", std::to_string(percent(mean_covered)) + " " + std::to_string(percent(median_covered)) +
                                 " " + std::to_string(percent(lower_covered)) + " " +
                                 std::to_string(percent(upper_covered)));
  EXPECT_GE(percent(mean_covered), 93);
  EXPECT_LE(percent(mean_covered), 97);
  EXPECT_GE(percent(median_covered), 93);
  EXPECT_LE(percent(median_covered), 97);
  EXPECT_GE(percent(upper_covered), 93);
  EXPECT_LE(percent(upper_covered), 97);
  EXPECT_GE(percent(lower_covered), 93);
  EXPECT_LE(percent(lower_covered), 97);
}

}  // namespace
}  // namespace nibble
