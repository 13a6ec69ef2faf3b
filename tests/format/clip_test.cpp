// SPDX-License-Identifier: Apache-2.0
#include "format/clip.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "base/random.h"
#include "format/quantized_tensor.h"

namespace nibble {
namespace {

std::vector<float> normal_values(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.normal());
  return values;
}

// The definition, slowly: every way to cut the histogram of magnitudes. As a share of the largest.
double entropy_by_definition(std::span<const float> x, std::size_t levels) {
  const std::size_t bins = x.size();
  std::vector<int> counts(bins);
  float amax = 0;
  for (const float v : x) amax = std::max(amax, std::fabs(v));
  for (const float v : x)
    ++counts[std::min(bins - 1, static_cast<std::size_t>(std::fabs(static_cast<double>(v)) / static_cast<double>(amax) *
                                                         static_cast<double>(bins)))];
  double best = HUGE_VAL, share = 1;
  for (std::size_t end = bins; end >= levels; --end) {
    std::vector<double> p(counts.begin(), counts.begin() + static_cast<std::ptrdiff_t>(end)), q(end);
    const std::vector<double> inside = p;
    p.back() += std::accumulate(counts.begin() + static_cast<std::ptrdiff_t>(end), counts.end(), 0.0);
    for (std::size_t level = 0; level < levels; ++level) {
      double mass = 0;
      int present = 0;
      const auto belongs = [&](std::size_t i) { return i >= level * end / levels && i < (level + 1) * end / levels; };
      for (std::size_t i = 0; i < end; ++i)
        if (belongs(i)) mass += inside[i], present += p[i] > 0 ? 1 : 0;
      for (std::size_t i = 0; i < end; ++i)
        if (belongs(i) && p[i] > 0) q[i] = mass / present;
    }
    const double sum_p = std::accumulate(p.begin(), p.end(), 0.0), sum_q = std::accumulate(q.begin(), q.end(), 0.0);
    if (sum_q == 0) continue;
    double divergence = 0;
    for (std::size_t i = 0; i < end; ++i)
      if (p[i] > 0) divergence += p[i] / sum_p * std::log(p[i] / sum_p / std::max(q[i] / sum_q, 1e-12));
    if (divergence < best - 1e-12) {
      best = divergence;
      share = static_cast<double>(end) / static_cast<double>(bins);
    }
  }
  return share;
}

TEST(Clip, EntropyFindsWhatTryingEveryCutFinds) {
  std::size_t num_cut = 0;
  for (const std::size_t levels : {2, 4, 8})
    for (std::uint64_t seed = 0; seed < 24; ++seed) {
      auto x = normal_values(120, 100 + seed);
      if (seed % 3 == 0) x[7] = 12.0f;
      if (seed % 3 == 1)
        for (float& value : x) value = std::tanh(value);
      const double expected = entropy_by_definition(x, levels);
      EXPECT_NEAR(static_cast<double>(entropy_clip(x, levels) / percentile_clip(x, 100)), expected, 1e-6)
          << levels << " " << seed;
      num_cut += expected < 1 ? 1 : 0;
    }
  EXPECT_GT(num_cut, 20u);
}

TEST(Clip, EntropyNeedsEnoughValues) {
  const auto x = normal_values(31, 1);
  EXPECT_EQ(entropy_clip(x, 8), percentile_clip(x, 100));
  EXPECT_EQ(entropy_clip(x, 0), percentile_clip(x, 100));
  EXPECT_EQ(entropy_clip(std::vector<float>(64, 0.0f), 8), 0.0f);
}

TEST(Clip, PercentileInterpolates) {
  const std::vector<float> x{-4.0f, 1.0f, 3.0f, -2.0f, 0.0f};
  EXPECT_FLOAT_EQ(percentile_clip(x, 100), 4.0f);
  EXPECT_FLOAT_EQ(percentile_clip(x, 75), 3.0f);
  EXPECT_FLOAT_EQ(percentile_clip(x, 90), 3.6f);
  EXPECT_FLOAT_EQ(percentile_clip(x, 0), 0.0f);
  EXPECT_EQ(percentile_clip({}, 50), 0.0f);
}

// Both rules change something in groups of 32 and in blocks, and the cut of entropy is the row's.
TEST(Clip, RulesReachShortGroups) {
  const auto x = normal_values(2048, 9);
  for (const char* name : {"int4:g32", "int4:g32:asym", "nf4:g64", "int4:g64:s6", "q4_0", "q4_1", "q4_k", "q6_k",
                           "iq4_nl", "mxfp4", "nvfp4", "table4:row"}) {
    const FormatPtr format = find_format(name);
    const auto decoded = [&](const FitOptions& options) {
      QuantizedTensor tensor(format, 1, x.size());
      tensor.tensor_grid = format->prepare(x, 1, x.size(), {}, options);
      format->encode_row(x, {}, tensor.tensor_grid.get(), 0, options, tensor.row(0));
      return tensor.view().decode();
    };
    const auto largest = [](const std::vector<float>& y) { return *std::max_element(y.begin(), y.end()); };
    const auto plain = decoded({.rule = FitRule::absmax});
    EXPECT_LT(largest(decoded({.rule = FitRule::percentile, .percentile = 80})), 0.8f * largest(plain)) << name;
    EXPECT_LT(largest(decoded({.rule = FitRule::entropy, .row_clip = 1})), 0.5f * largest(plain)) << name;
    if (std::string(name) == "int4:g32") {
      EXPECT_EQ(decoded({.rule = FitRule::entropy}),
                decoded({.rule = FitRule::entropy, .row_clip = entropy_clip(x, 8)}));
    }
  }
}

}  // namespace
}  // namespace nibble
