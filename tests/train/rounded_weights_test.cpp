// SPDX-License-Identifier: Apache-2.0
//
// Weights that are rounded while they are trained: what the network reads is what is stored.
#include "train/rounded_weights.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "nibble/error.h"

namespace nibble {
namespace {

NetworkWeights weights_of(std::uint64_t rows, std::uint64_t cols, std::uint64_t seed) {
  NetworkWeight weight{.name = "w", .part = "q", .layer = 0, .values = {rows, cols, std::vector<float>(rows * cols)}};
  Random random(seed);
  for (float& value : weight.values.values) value = static_cast<float>(0.1 * random.normal());
  std::vector<NetworkWeight> all;
  all.push_back(std::move(weight));
  NetworkWeights weights(std::move(all));
  weights.train([](const NetworkWeight&) { return true; });
  return weights;
}

void fill_gradient(NetworkWeights& weights, std::uint64_t seed) {
  Random random(seed);
  for (float& slope : weights.all().front().gradient) slope = static_cast<float>(random.normal());
}

TEST(RoundedWeights, WhatTheNetworkReadsIsWhatIsStored) {
  ThreadPool pool(2);
  for (const char* const name : {"int8:row",       "int4:g32",   "int4:row:f16", "int3:g64:signed",
                                 "int2:g64:half",  "int2:g64",   "ternary:row",  "ternary:g64",
                                 "ternary:tensor", "binary:g32", "nf4:g64",      "q4_0",
                                 "q5_0",           "q8_0",       "q2_0",         "q1_0",
                                 "tq1_0",          "tq2_0",      "iq4_nl",       "table2:row",
                                 "table2:g64"}) {
    NetworkWeights weights = weights_of(5, 512, 3);
    RoundedWeights rounded(weights, {{"w", find_format(name)}}, nullptr, pool);
    ASSERT_EQ(rounded.size(), 1u) << name;
    for (int step = 0; step < 3; ++step) {
      fill_gradient(weights, 7 + static_cast<std::uint64_t>(step));
      rounded.clear_gradients();
      rounded.pull_back(pool);
      for (Parameter& scales : rounded.scales()) {
        bool has_slopes = false;
        for (std::size_t i = 0; i < scales.values.size(); ++i) {
          has_slopes = has_slopes || scales.gradient[i] != 0;
          scales.values[i] -= 0.05F * scales.gradient[i];
        }
        EXPECT_TRUE(has_slopes) << name;
      }
      std::vector<float>& masters = *rounded.find_masters("w");
      for (std::size_t i = 0; i < masters.size(); ++i) masters[i] -= 0.01F * weights.all().front().gradient[i];
      const std::vector<float> before = weights.all().front().values.values;
      rounded.round(pool);
      EXPECT_NE(before, weights.all().front().values.values) << name;
      const QuantizedTensor made = rounded.store(0, pool);  // compares all numbers itself
      EXPECT_EQ(made.view().decode(), weights.all().front().values.values) << name;
    }
  }
}

TEST(RoundedWeights, RowsMayEndInAShorterGroup) {
  ThreadPool pool(1);
  NetworkWeights weights = weights_of(4, 100, 5);
  RoundedWeights rounded(weights, {{"w", find_format("int4:g64")}}, nullptr, pool);
  EXPECT_EQ(rounded.scales().front().values.size(), 8u);
  EXPECT_EQ(rounded.store(0, pool).view().decode(), weights.all().front().values.values);
}

TEST(RoundedWeights, TheSameForAnyNumberOfThreads) {
  const auto trained = [](std::size_t threads) {
    ThreadPool pool(threads);
    NetworkWeights weights = weights_of(64, 512, 9);
    RoundedWeights rounded(weights, {{"w", find_format("int2:g64:half")}}, nullptr, pool);
    fill_gradient(weights, 2);
    rounded.pull_back(pool);
    const std::vector<Parameter> scales = rounded.scales();
    std::vector<float> all(scales[0].gradient.begin(), scales[0].gradient.end());
    const NetworkWeight& weight = weights.all().front();
    all.insert(all.end(), weight.gradient.begin(), weight.gradient.end());
    all.insert(all.end(), weight.values.values.begin(), weight.values.values.end());
    return all;
  };
  EXPECT_EQ(trained(1), trained(3));
}

TEST(RoundedWeights, ARunOfZerosCanBeLearnt) {
  ThreadPool pool(1);
  NetworkWeights weights = weights_of(2, 64, 1);
  std::fill_n(weights.all().front().values.values.begin(), 64, 0.0F);
  RoundedWeights rounded(weights, {{"w", find_format("int4:row")}}, nullptr, pool);
  EXPECT_EQ(weights.all().front().values.values[0], 0);
  (*rounded.find_masters("w"))[0] = 0.0004F;
  rounded.round(pool);
  EXPECT_NEAR(weights.all().front().values.values[0], 0.0004F, 1e-4F);
}

TEST(RoundedWeights, RefusesFormatsAndEstimatorsThatDoNotFit) {
  ThreadPool pool(1);
  NetworkWeights weights = weights_of(2, 64, 1);
  EXPECT_THROW(RoundedWeights(weights, {{"w", find_format("q4_k")}}, nullptr, pool), Error);
  EXPECT_THROW(RoundedWeights(weights, {{"w", find_format("tq2_0")}}, nullptr, pool), Error);  // rows of 64
  EXPECT_THROW(RoundedWeights(weights, {{"w", find_format("int4:row")}}, &absmean_estimator(), pool), Error);
}

}  // namespace
}  // namespace nibble
