// SPDX-License-Identifier: Apache-2.0
//
// How the loss bends in a Linear's weights, beside the numbers of tools/reference_curvature.py.
#include "train/loss_curvature.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"

namespace nibble {
namespace {

using Json = nlohmann::json;

Json reference() {
  std::ifstream file(NIBBLE_SOURCE_DIR "/tests/data/train/curvature.json");
  return Json::parse(file).at("curvature");
}

CalibrationTokens tokens_of(const Json& expected) {
  CalibrationTokens tokens;
  tokens.length = expected.at("length").get<std::size_t>();
  const std::size_t count = tokens.length * expected.at("windows").get<std::size_t>();
  for (std::size_t i = 0; i < count; ++i) tokens.ids.push_back(static_cast<std::int32_t>(i * i * 7 % 199));
  return tokens;
}

// Sums of f32 products over 100 tokens and a network of two layers: a few hundred roundings of 2^-24.
void expect_moment(const std::vector<float>& own, const Json& expected) {
  const auto diagonal = expected.at("diagonal").get<std::vector<double>>(),
             probed = expected.at("probed").get<std::vector<double>>();
  const std::size_t n = diagonal.size();
  ASSERT_EQ(own.size(), n * n);
  for (std::size_t i = 0; i < n; ++i) {
    EXPECT_NEAR(own[i * n + i], diagonal[i], 1e-4 * (1 + diagonal[i])) << i;
    double sum = 0, size = 0;
    for (std::size_t j = 0; j < n; ++j) {
      const double number = static_cast<double>(own[i * n + j]), probe = static_cast<double>(j * 13 % 29) / 14 - 1;
      sum += number * probe;
      size += std::fabs(number * probe);
      EXPECT_EQ(own[i * n + j], own[j * n + i]);
    }
    EXPECT_NEAR(sum, probed[i], 1e-4 * (1 + size)) << i;
  }
}

class Curvature : public testing::Test {
 protected:
  LossCurvature find(const CurvatureOptions& options, std::size_t threads) {
    Machine machine(chosen_isa(), threads);
    return find_loss_curvature(model_, tokens_, options, machine);
  }
  Json expected_ = reference();
  CalibrationTokens tokens_ = tokens_of(expected_);
  SourceModel model_ = SourceModel::open(data_directory() / "tiny_qwen3");
};

TEST_F(Curvature, IsThatOfPyTorchsGradients) {
  const LossCurvature found =
      find({.end_layer = 2, .rounds = expected_.at("rounds").get<std::size_t>(), .targets = TokenTargets::text}, 2);
  for (const auto& [part, expected] : expected_.at("linears").items()) {
    const LinearCurvature* const own = found.find(expected.at("layer").get<std::int64_t>(), part);
    ASSERT_NE(own, nullptr) << part;
    const auto weights = expected.at("token_weights").get<std::vector<double>>();
    // Sums of f32 products over 100 tokens and a network of two layers: a few hundred roundings of 2^-24.
    ASSERT_EQ(own->token_weights.size(), weights.size());
    for (std::size_t t = 0; t < weights.size(); ++t)
      EXPECT_NEAR(own->token_weights[t], weights[t], 1e-4 * (1 + weights[t])) << part << ' ' << t;
    expect_moment(own->output_moment, expected);
  }
  // Behind layers the mean of g g^T, the text's next tokens being the same in all rounds.
  ASSERT_EQ(expected_.at("streams").size(), 2u);
  for (const Json& expected : expected_.at("streams")) {
    const std::span<const float> own = found.stream_moment(expected.at("layer").get<std::int64_t>());
    expect_moment(std::vector<float>(own.begin(), own.end()), expected);
  }
}

TEST_F(Curvature, LayersByThemselvesAreTheSame) {
  const LossCurvature all = find({.end_layer = 2}, 1), last = find({.first_layer = 1, .end_layer = 2}, 3);
  EXPECT_EQ(all.all().size(), 2 * last.all().size());
  EXPECT_EQ(last.find(0, "down"), nullptr);
  EXPECT_EQ(all.find(0, "nothing"), nullptr);
  for (const auto& [place, own] : last.all()) {
    const LinearCurvature& other = *all.find(place.first, place.second);
    EXPECT_EQ(own.token_weights, other.token_weights) << place.second;
    EXPECT_EQ(own.output_moment, other.output_moment) << place.second;
  }
  ASSERT_FALSE(last.stream_moment(1).empty());
  EXPECT_TRUE(std::ranges::equal(last.stream_moment(1), all.stream_moment(1)));
  EXPECT_TRUE(last.stream_moment(0).empty());
  EXPECT_FALSE(std::ranges::equal(all.stream_moment(0), all.stream_moment(1)));
  Machine machine(chosen_isa(), 1);
  EXPECT_LT(curvature_bytes(model_, tokens_, {.first_layer = 1, .end_layer = 2}, machine),
            curvature_bytes(model_, tokens_, {.end_layer = 2}, machine));
}

}  // namespace
}  // namespace nibble
