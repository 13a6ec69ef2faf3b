// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "kernels/chosen_isa.h"
#include "nibble/error.h"
#include "quantize/method.h"
#include "quantize/transform/transform.h"

namespace nibble {
namespace {

constexpr std::size_t kCols = 128, kRows = 64;

// Inputs with one column forty times as strong as the others, whose weights are forty times as weak.
struct Outlier {
  SiteStatistics site;
  std::vector<float> weights;
  Outlier() {
    Random random(2);
    for (std::size_t i = 0; i < kCols; ++i) site.mean_square.push_back(i == 9 ? 1600.0F : 1.0F);
    for (const float square : site.mean_square) site.absmax.push_back(4 * std::sqrt(square));
    site.second_moment.assign(kCols * kCols, 0.0F);
    for (std::size_t i = 0; i < kCols; ++i) site.second_moment[i * kCols + i] = site.mean_square[i];
    for (std::size_t i = 0; i < kRows * kCols; ++i)
      weights.push_back(static_cast<float>(0.05 * random.normal() / (i % kCols == 9 ? 40 : 1)));
  }
  ScaleRequest request(const char* format) const { return {&site, {{weights, kRows, find_format(format), {}}}, {}}; }

  // The error in the outputs of rounding W s and dividing by s.
  double loss(const char* name, const std::vector<float>& scales) const {
    const FormatPtr format = find_format(name);
    double total = 0;
    for (std::size_t row = 0; row < kRows; ++row) {
      std::vector<float> scaled(kCols);
      for (std::size_t i = 0; i < kCols; ++i) scaled[i] = weights[row * kCols + i] * scales[i];
      QuantizedTensor stored(format, 1, kCols);
      format->encode_row(scaled, {}, nullptr, 0, {}, stored.row(0));
      const std::vector<float> back = stored.view().decode();
      for (std::size_t i = 0; i < kCols; ++i) {
        const double error = static_cast<double>(back[i] / scales[i] - weights[row * kCols + i]);
        total += error * error * static_cast<double>(site.mean_square[i]);
      }
    }
    return total;
  }
};

TEST(Awq, ProtectsAColumnThatIsStrong) {
  const Outlier outlier;
  Machine machine(chosen_isa(), 2);
  const std::vector<float> scales = choose_scales(find_transform("awq"), outlier.request("int3:g128"), machine);
  EXPECT_GT(scales[9], 5 * scales[10]);
  EXPECT_LT(outlier.loss("int3:g128", scales), 0.85 * outlier.loss("int3:g128", std::vector<float>(kCols, 1.0F)));
}

TEST(Awq, GivesTheSameScalesForAnyNumberOfThreads) {
  const Outlier outlier;
  Machine one(chosen_isa(), 1), three(chosen_isa(), 3);
  EXPECT_EQ(choose_scales(find_transform("awq"), outlier.request("q4_0"), one),
            choose_scales(find_transform("awq"), outlier.request("q4_0"), three));
}

// Rows that are coded together are sampled together.
TEST(Awq, TakesFormatsOfTiles) {
  const Outlier outlier;
  Machine one(chosen_isa(), 1), three(chosen_isa(), 3);
  const std::vector<float> scales = choose_scales(find_transform("awq"), outlier.request("trellis2:l8"), one);
  EXPECT_EQ(scales, choose_scales(find_transform("awq"), outlier.request("trellis2:l8"), three));
  EXPECT_GT(scales[9], 2 * scales[10]);
}

TEST(SmoothQuant, BalancesRanges) {
  const Outlier outlier;
  Machine machine(chosen_isa(), 1);
  const std::vector<float> scales = choose_scales(find_transform("smoothquant"), outlier.request("int8:row"), machine);
  // alpha 0.5 makes max|x / s| and max|w s| of every column alike.
  for (const std::size_t i : {0u, 9u, 77u}) {
    float peak = 0;
    for (std::size_t row = 0; row < kRows; ++row)
      peak = std::max(peak, std::fabs(outlier.weights[row * kCols + i]) * scales[i]);
    float first = 0;
    for (std::size_t row = 0; row < kRows; ++row)
      first = std::max(first, std::fabs(outlier.weights[row * kCols]) * scales[0]);
    EXPECT_NEAR(peak / (outlier.site.absmax[i] / scales[i]), first / (outlier.site.absmax[0] / scales[0]),
                1e-3 * first / outlier.site.absmax[0] * scales[0]);
  }
}

TEST(Scaling, GroupsShareAScale) {
  const Outlier outlier;
  Machine machine(chosen_isa(), 1);
  for (const char* name : {"awq", "smoothquant"}) {
    ScaleRequest request = outlier.request("int4:g128");
    for (std::uint32_t i = 0; i < kCols; ++i) request.group_of.push_back(i % 64);
    const std::vector<float> scales = choose_scales(find_transform(name), request, machine);
    for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(scales[i], scales[i + 64]) << name;
  }
}

TEST(Scaling, RescaledStatisticsAreThoseOfDividedInputs) {
  const Outlier outlier;
  std::vector<float> scales(kCols, 2.0F);
  scales[9] = 4;
  const SiteStatistics site = rescaled(outlier.site, scales);
  EXPECT_FLOAT_EQ(site.mean_square[9], 100.0F);
  EXPECT_FLOAT_EQ(site.absmax[0], 2.0F);
  EXPECT_FLOAT_EQ(site.second_moment[9 * kCols + 9], 100.0F);
}

TEST(Methods, AreFoundByNameAndSayWhatTheyAreMadeOf) {
  for (const Method& method : list_methods()) EXPECT_EQ(find_method(method.name).composition(), method.composition());
  EXPECT_EQ(find_method("awq").composition(), "awq + search + nearest");
  EXPECT_EQ(find_method("signround").composition(), "none + search + gptq + signs");
  EXPECT_EQ(find_method("gptq").needs(), Needs::second_moment);
  EXPECT_EQ(find_method("imatrix").needs(), Needs::mean_square);
  EXPECT_EQ(find_method("rtn").needs(), Needs::nothing);
  EXPECT_THROW(find_transform("wq"), Error);
  EXPECT_THROW(find_rounder("gpt"), Error);
}

}  // namespace
}  // namespace nibble
