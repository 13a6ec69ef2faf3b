// SPDX-License-Identifier: Apache-2.0
#include "train/trained_matrix.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/cpu.h"
#include "base/random.h"
#include "format/encode_tensor.h"
#include "nibble/error.h"
#include "train/optimizer.h"

namespace nibble {
namespace {

constexpr std::uint64_t kRows = 5, kCols = 512;
constexpr const char* kFormats[] = {
    "int4:g32",    "int2:g64:half", "int4:g64:bias", "int3:g128:asym", "int4:g64:s6", "int3:g128:signed",
    "ternary:row", "binary:row",    "nf4:g64",       "nf4:g64:dq",     "table3:g256", "q4_0",
    "q5_1",        "q2_k",          "q3_k",          "q4_k",           "q6_k",        "iq4_nl",
    "iq4_xs",      "iq2_xs",        "mxfp4",         "nvfp4",          "tq2_0",       "trellis2:l8",
    "trellis3:l12"};

std::vector<float> random_numbers(std::uint64_t seed, double deviation) {
  Random random(seed);
  std::vector<float> values(kRows * kCols);
  for (float& value : values) value = static_cast<float>(deviation * random.normal());
  return values;
}

QuantizedTensor encode(const std::string& name, const std::vector<float>& weights, FitRule rule) {
  return encode_tensor(find_format(name), weights, kRows, rule);
}

TEST(TrainedMatrix, BeginsAsItIsStoredAndIsStoredAsItWas) {
  ThreadPool pool(2);
  const std::vector<float> weights = random_numbers(1, 0.05);
  for (const char* const name : kFormats) {
    const QuantizedTensor tensor = encode(name, weights, FitRule::automatic);
    const TrainedMatrix matrix(tensor.view(), pool);
    std::vector<float> values(weights.size());
    matrix.values(values, pool);
    const std::vector<float> decoded = tensor.view().decode();
    for (std::size_t i = 0; i < values.size(); ++i) ASSERT_NEAR(values[i], decoded[i], 1e-6f) << name << ", " << i;
    EXPECT_EQ(matrix.store(pool).planes, tensor.planes) << name;
  }
}

// The slope of a loss that is linear in the values, along a random direction of all numbers: a central difference,
// which for values that are products of two numbers is exact, too.
TEST(TrainedMatrix, GradientsAreDifferences) {
  ThreadPool one(1), three(3);
  const std::vector<float> weights = random_numbers(2, 0.05), by_values = random_numbers(3, 1);
  for (const char* const name : kFormats) {
    const QuantizedTensor tensor = encode(name, weights, FitRule::automatic);
    TrainedMatrix matrix(tensor.view(), one);
    std::vector<float> gradient(matrix.numbers().size()), again = gradient;
    matrix.add_gradient(by_values, gradient, one);
    matrix.add_gradient(by_values, again, three);
    EXPECT_EQ(gradient, again) << name;
    const std::vector<float> at(matrix.numbers().begin(), matrix.numbers().end());
    Random random(4);
    std::vector<double> direction;
    for (const float number : at) direction.push_back((0.1 * static_cast<double>(number) + 1e-3) * random.normal());
    const auto loss_at = [&](double share) {
      for (std::size_t i = 0; i < at.size(); ++i)
        matrix.numbers()[i] = static_cast<float>(static_cast<double>(at[i]) + share * direction[i]);
      std::vector<float> values(weights.size());
      matrix.values(values, one);
      double sum = 0;
      for (std::size_t i = 0; i < values.size(); ++i)
        sum += static_cast<double>(by_values[i]) * static_cast<double>(values[i]);
      return sum;
    };
    double expected = 0, size = 0;
    for (std::size_t i = 0; i < at.size(); ++i) {
      expected += static_cast<double>(gradient[i]) * direction[i];
      size += std::fabs(static_cast<double>(gradient[i]) * direction[i]);
    }
    EXPECT_NEAR((loss_at(1) - loss_at(-1)) / 2, expected, 1e-4 * size) << name;
  }
}

// The numbers are trained towards the weights themselves: codes stay, the squared error of what is stored falls.
TEST(TrainedMatrix, TrainedNumbersLoseLess) {
  Machine machine(choose_isa(detect_cpu(), ""), 2);
  const std::vector<float> weights = random_numbers(5, 0.05);
  const auto error_of = [&](const std::vector<float>& values) {
    double sum = 0;
    for (std::size_t i = 0; i < values.size(); ++i) sum += std::pow(static_cast<double>(values[i] - weights[i]), 2);
    return sum;
  };
  for (const char* const name : {"int2:g64", "int3:g128:asym", "int2:g64:half", "table2:row", "q4_0"}) {
    const QuantizedTensor tensor = encode(name, weights, FitRule::absmax);
    TrainedMatrix matrix(tensor.view(), machine.pool);
    std::vector<float> values(weights.size()), gradient(matrix.numbers().size());
    const std::vector<Parameter> parameters = {{name, 1, gradient.size(), matrix.numbers(), gradient}};
    Optimizer optimizer(AdamWSettings{.rate = 1e-3, .weight_decay = 0}, parameters);
    for (int step = 0; step < 100; ++step) {
      matrix.values(values, machine.pool);
      for (std::size_t i = 0; i < values.size(); ++i) values[i] = 2 * (values[i] - weights[i]);
      std::ranges::fill(gradient, 0.0f);
      matrix.add_gradient(values, gradient, machine.pool);
      optimizer.step(parameters, {}, machine);
    }
    const QuantizedTensor made = matrix.store(machine.pool);
    EXPECT_EQ(made.planes[0].size(), tensor.planes[0].size());
    EXPECT_LT(error_of(made.view().decode()), 0.98 * error_of(tensor.view().decode())) << name;
  }
}

TEST(TrainedMatrix, WhatHasNoNumbersOfItsOwnIsRefused) {
  ThreadPool pool(1);
  const auto refusal = [&](const char* name) -> std::string {
    const QuantizedTensor tensor = encode(name, random_numbers(6, 0.05), FitRule::automatic);
    try {
      TrainedMatrix(tensor.view(), pool);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::unsupported);
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refusal("bf16"), "no number of its grids can be trained: bf16");
  EXPECT_EQ(refusal("int8:tensor"),
            "rows share the numbers of its grids, which are trained row by row; take groups or rows: int8:tensor");
}

}  // namespace
}  // namespace nibble
