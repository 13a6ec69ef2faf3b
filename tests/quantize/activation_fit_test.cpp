// SPDX-License-Identifier: Apache-2.0
//
// Grids for activations, from statistics that are made of values which the tests know.
#include "quantize/fit/activation_fit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/random.h"
#include "nibble/error.h"
#include "quantize/fit/fit_rule.h"

namespace nibble {
namespace {

constexpr ActivationFormat kSymmetric{ActivationGrain::tensor, false}, kAsymmetric{ActivationGrain::tensor, true};

SiteStatistics statistics_of(const std::vector<float>& values) {
  SiteStatistics site;
  site.layer = 3;
  site.site = "mlp_out";
  site.count = values.size();
  site.histogram.resize(kHistogramBins);
  site.negatives.resize(kHistogramBins);
  site.absmax.push_back(0);
  for (const float value : values) {
    ++site.histogram[histogram_bin(value)];
    site.negatives[histogram_bin(value)] += value < 0 ? 1 : 0;
    site.absmax[0] = std::max(site.absmax[0], std::fabs(value));
    site.lowest = std::min(site.lowest, value);
    site.highest = std::max(site.highest, value);
  }
  return site;
}

// Normal numbers, one in a thousand thirty times as large, moved to one side.
std::vector<float> numbers_with_outliers(double mean) {
  Random random(1);
  std::vector<float> values;
  for (int i = 0; i < 50000; ++i)
    values.push_back(static_cast<float>(mean + random.normal() * (i % 1000 == 0 ? 30 : 1)));
  return values;
}

double error_on(const std::vector<float>& values, const ActivationGrid& grid) {
  double sum = 0;
  for (const float value : values) {
    const double scale = static_cast<double>(grid.scale), zero = grid.zero, x = static_cast<double>(value);
    const double error = x - scale * (std::clamp(std::nearbyint(x / scale) + zero, -128.0, 127.0) - zero);
    sum += error * error;
  }
  return sum / static_cast<double>(values.size());
}

TEST(ActivationFit, AbsmaxHoldsAllThatWasSeen) {
  const SiteStatistics site = statistics_of({-1, 0.5f, 3});
  const ActivationGrid even = fit_activation_grid(site, kSymmetric, {.rule = FitRule::absmax});
  EXPECT_FLOAT_EQ(even.scale, 3.0f / 127);
  EXPECT_EQ(even.zero, 0);
  const ActivationGrid uneven = fit_activation_grid(site, kAsymmetric, {.rule = FitRule::absmax});
  EXPECT_FLOAT_EQ(uneven.scale, 4.0f / 255);
  EXPECT_EQ(uneven.zero, -64);  // -128 + 63.75, rounded
  // A range always holds 0.
  const ActivationGrid positive = fit_activation_grid(statistics_of({2, 3}), kAsymmetric, {.rule = FitRule::minmax});
  EXPECT_FLOAT_EQ(positive.scale, 3.0f / 255);
  EXPECT_EQ(positive.zero, -128);
}

// Bins are an eighth of an octave wide at most, so uniform numbers, which are uniform within bins, come out to the
// sampling error.
TEST(ActivationFit, PercentileLeavesItsShareInside) {
  Random random(2);
  std::vector<float> values;
  for (int i = 0; i < 100000; ++i) values.push_back(static_cast<float>(random.uniform() * 8 - 2));  // -2 .. 6
  const SiteStatistics site = statistics_of(values);
  for (const double share : {60.0, 90.0, 99.0, 100.0}) {
    // Of the magnitudes half lie below 2, the rest between 2 and 6.
    const double reach = share <= 50 ? share / 25 : 2 + (share - 50) / 12.5;
    EXPECT_NEAR(fit_activation_grid(site, kSymmetric, {.rule = FitRule::percentile, .percentile = share}).scale * 127,
                reach, 0.05)
        << share;
    const ActivationGrid grid =
        fit_activation_grid(site, kAsymmetric, {.rule = FitRule::percentile, .percentile = share});
    EXPECT_NEAR(grid.scale * 255, 8 * share / 100, 0.1) << share;
    EXPECT_NEAR(grid.scale * static_cast<float>(-128 - grid.zero), -2 + 4 * (1 - share / 100), 0.1) << share;
  }
}

TEST(ActivationFit, SearchIsNearlyTheBestRangeForTheValuesThemselves) {
  for (const double mean : {0.0, 1.5}) {
    const std::vector<float> values = numbers_with_outliers(mean);
    const SiteStatistics site = statistics_of(values);
    double best = 1e300;
    for (double reach = 0.5; reach < 150; reach *= 1.02)
      best = std::min(best, error_on(values, {static_cast<float>(reach / 127), 0}));
    const ActivationGrid grid = fit_activation_grid(site, kSymmetric, find_fit("mse"));
    EXPECT_LE(error_on(values, grid), 1.02 * best) << mean;
    EXPECT_NEAR(mean_squared_rounding(site, grid), error_on(values, grid), 0.05 * error_on(values, grid)) << mean;
    EXPECT_EQ(fit_activation_grid(site, kSymmetric, {}), grid);  // the default
    // A zero point is one more freedom.
    EXPECT_LE(error_on(values, fit_activation_grid(site, kAsymmetric, find_fit("search"))),
              1.05 * error_on(values, grid))
        << mean;
    const double whole = error_on(values, fit_activation_grid(site, kSymmetric, find_fit("absmax")));
    EXPECT_LT(error_on(values, grid), 0.9 * whole) << mean;
  }
}

TEST(ActivationFit, EntropyCutsOutliersOffAndLeavesUniformNumbersAlone) {
  const std::vector<float> values = numbers_with_outliers(0);
  const float largest = *std::ranges::max_element(values, {}, [](float x) { return std::fabs(x); });
  EXPECT_LT(fit_activation_grid(statistics_of(values), kSymmetric, find_fit("entropy")).scale * 127,
            0.5f * std::fabs(largest));
  Random random(3);
  std::vector<float> uniform;
  for (int i = 0; i < 100000; ++i) uniform.push_back(static_cast<float>(random.uniform() * 2 - 1));
  EXPECT_GT(fit_activation_grid(statistics_of(uniform), kSymmetric, find_fit("entropy")).scale * 127, 0.95f);
}

TEST(ActivationFit, NothingSeenIsAnyGrid) {
  const SiteStatistics site = statistics_of({0, 0});
  for (const char* fit : {"absmax", "search", "percentile", "entropy"})
    EXPECT_EQ(fit_activation_grid(site, kAsymmetric, find_fit(fit)), ActivationGrid{}) << fit;
}

TEST(ActivationFit, RefusesWhatSaysNothing) {
  const SiteStatistics whole = statistics_of({1, -2});
  SiteStatistics imported = whole, older = whole;
  imported.absmax.clear();
  imported.histogram.clear();
  imported.negatives.clear();
  older.negatives.clear();
  EXPECT_THROW(fit_activation_grid(imported, kSymmetric, {}), Error);
  EXPECT_THROW(fit_activation_grid(older, kAsymmetric, {}), Error);
  EXPECT_FLOAT_EQ(fit_activation_grid(older, kSymmetric, find_fit("absmax")).scale, 2.0f / 127);
  EXPECT_THROW(fit_activation_grid(whole, kSymmetric, find_fit("absmean")), Error);
  try {
    fit_activation_grid(imported, kSymmetric, {});
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("layers.3.mlp_out"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace nibble
