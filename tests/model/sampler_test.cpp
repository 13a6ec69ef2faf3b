// SPDX-License-Identifier: Apache-2.0
#include "model/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "tiny_models.h"

namespace nibble {
namespace {

// Probabilities 0.5, 0.25, 0.125, 0.0625, 0.0625 in an order of their own.
const std::vector<float> kLogits = {std::log(0.125f), std::log(0.5f), std::log(0.0625f), std::log(0.25f),
                                    std::log(0.0625f)};

SamplerOptions everything(double temperature, std::uint64_t seed = 3) {
  return {.temperature = temperature, .top_k = 0, .top_p = 1, .min_p = 0, .seed = seed};
}

std::map<std::int32_t, double> shares(const SamplerOptions& options, int draws = 20000) {
  Sampler sampler(options);
  std::map<std::int32_t, double> counts;
  for (int i = 0; i < draws; ++i) counts[sampler.choose(kLogits, {})] += 1.0 / draws;
  return counts;
}

TEST(Sampler, ZeroTemperatureTakesTheLargest) {
  Sampler sampler({.temperature = 0});
  EXPECT_EQ(sampler.choose(kLogits, {}), 1);
  EXPECT_EQ(sampler.choose(std::vector<float>{1, 3, 3, 2}, {}), 1);  // the first of equals
}

TEST(Sampler, DrawsFromTheDistribution) {
  const auto drawn = shares(everything(1));
  // Four standard deviations of a share near 1/2 in 20000 draws are 0.014.
  EXPECT_NEAR(drawn.at(1), 0.5, 0.015);
  EXPECT_NEAR(drawn.at(3), 0.25, 0.015);
  EXPECT_NEAR(drawn.at(0), 0.125, 0.015);
  EXPECT_NEAR(drawn.at(2), 0.0625, 0.015);
  EXPECT_NEAR(drawn.at(4), 0.0625, 0.015);
}

TEST(Sampler, TemperatureSharpens) {
  // Squares of the probabilities: 64, 16, 4, 1, 1 parts of 86.
  const auto drawn = shares(everything(0.5));
  EXPECT_NEAR(drawn.at(1), 64.0 / 86, 0.015);
  EXPECT_NEAR(drawn.at(3), 16.0 / 86, 0.015);
}

TEST(Sampler, TopKKeepsTheLargest) {
  SamplerOptions options = everything(1);
  options.top_k = 2;
  const auto drawn = shares(options);
  EXPECT_EQ(drawn.size(), 2u);
  EXPECT_NEAR(drawn.at(1), 2.0 / 3, 0.015);
  options.top_k = 4;  // of two equals the smaller id stays
  EXPECT_EQ(shares(options).count(2), 1u);
  EXPECT_EQ(shares(options).count(4), 0u);
}

TEST(Sampler, TopPKeepsTheFewestThatReachTheSum) {
  SamplerOptions options = everything(1);
  options.top_p = 0.7;
  EXPECT_EQ(shares(options).size(), 2u);
  options.top_p = 0.8;
  EXPECT_EQ(shares(options).size(), 3u);
  options.top_p = 0;
  EXPECT_EQ(shares(options, 50).size(), 1u);
}

TEST(Sampler, MinPIsRelativeToTheLargest) {
  SamplerOptions options = everything(1);
  options.min_p = 0.2;  // of 0.5: 0.1
  EXPECT_EQ(shares(options).size(), 3u);
  options.min_p = 0.3;
  EXPECT_EQ(shares(options).size(), 2u);
}

TEST(Sampler, RepetitionPenaltyPushesSeenTokensDown) {
  SamplerOptions options;
  options.repetition_penalty = 2;
  Sampler sampler(options);
  const std::vector<float> logits = {3, 2, -1};
  EXPECT_EQ(sampler.choose(logits, std::vector<std::int32_t>{2}), 0);
  EXPECT_EQ(sampler.choose(logits, std::vector<std::int32_t>{0, 0}), 1);  // 3 / 2 < 2, once however often it was seen
  EXPECT_EQ(sampler.choose(std::vector<float>{-1.0f, -1.5f}, std::vector<std::int32_t>{0}), 1);  // -1 * 2 < -1.5
  options.repetition_window = 2;
  Sampler forgetful(options);
  EXPECT_EQ(forgetful.choose(logits, std::vector<std::int32_t>{0, 2, 2}), 0);
  options.repetition_window = 0;
  Sampler elephant(options);
  std::vector<std::int32_t> history(100, 2);
  history.front() = 0;
  EXPECT_EQ(elephant.choose(logits, history), 1);
}

TEST(Sampler, SeedDecides) {
  const auto draw = [](std::uint64_t seed) {
    Sampler sampler(everything(1, seed));
    std::vector<std::int32_t> ids;
    for (int i = 0; i < 50; ++i) ids.push_back(sampler.choose(kLogits, {}));
    return ids;
  };
  EXPECT_EQ(draw(1), draw(1));
  EXPECT_NE(draw(1), draw(2));
}

TEST(Sampler, OptionsOutOfRange) {
  EXPECT_EQ(error_of([] { Sampler s({.temperature = -1}); }).second, "temperature must lie between 0 and 1000: -1");
  EXPECT_EQ(error_of([] { Sampler s({.top_p = 1.5}); }).second, "top-p must lie between 0 and 1: 1.5");
  EXPECT_EQ(error_of([] { Sampler s({.min_p = std::nan("")}); }).first, ErrorKind::invalid_argument);
  EXPECT_EQ(error_of([] { Sampler s({.repetition_penalty = 0}); }).first, ErrorKind::invalid_argument);
}

TEST(Sampler, LogitsThatAreNotFinite) {
  Sampler sampler({});
  const auto [kind, message] =
      error_of([&] { sampler.choose(std::vector<float>{0, std::numeric_limits<float>::quiet_NaN()}, {}); });
  EXPECT_EQ(kind, ErrorKind::corrupt);
  EXPECT_EQ(message, "the model's logits are not finite, so its weights overflow; token 1: nan");
}

}  // namespace
}  // namespace nibble
