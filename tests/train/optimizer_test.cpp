// SPDX-License-Identifier: Apache-2.0
#include "train/optimizer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>

#include "base/cpu.h"
#include "base/random.h"
#include "nibble/error.h"
#include "train/gradient_norm.h"
#include "train/orthogonal.h"
#include "train/training_reference.h"

namespace nibble {
namespace {

constexpr int kRows = 6, kCols = 4;

// The rules of tools/reference_optimizers.py.
std::vector<float> start(int rows, int cols) {
  std::vector<float> values;
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < cols; ++c) values.push_back(static_cast<float>((5 * r + 3 * c) % 11 - 5) / 8);
  return values;
}
std::vector<float> slope(int step, int rows, int cols) {
  std::vector<float> values;
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < cols; ++c)
      values.push_back(static_cast<float>((7 * r + 4 * c + 3 * step * (r + 1)) % 13 - 6) / 4);
  return values;
}

const std::map<std::string, OptimizerSettings> kCases = {
    {"sgd", SgdSettings{.rate = 0.05, .momentum = 0}},
    {"sgd momentum", SgdSettings{.rate = 0.05, .momentum = 0.9, .weight_decay = 0.1}},
    {"sgd nesterov", SgdSettings{.rate = 0.05, .momentum = 0.8, .is_nesterov = true}},
    {"adamw", AdamWSettings{.rate = 0.02, .beta2 = 0.98, .weight_decay = 0.1}},
    {"adamw clipped", AdamWSettings{.rate = 0.02}},
    {"muon", MuonSettings{.rate = 0.02, .weight_decay = 0.05}},
    {"muon plain", MuonSettings{.rate = 0.02, .momentum = 0.9, .weight_decay = 0, .is_nesterov = false}}};

TEST(Optimizer, SignsMoveAllNumbersAlikeAndNoneWithoutSlope) {
  Machine machine(choose_isa(detect_cpu(), ""), 1);
  std::vector<float> values = {1, -1, 0.5F, 2};
  const std::vector<float> slopes = {300, -1e-30F, 0, 1e-3F};
  const std::vector<Parameter> parameters = {{"numbers", 1, 4, values, slopes}};
  Optimizer optimizer(SignSettings{.rate = 0.25}, parameters);
  optimizer.step(parameters, {.rate_factor = 0.5}, machine);
  EXPECT_EQ(values, (std::vector<float>{0.875F, -0.875F, 0.5F, 1.875F}));
  EXPECT_TRUE(optimizer.memory(0).empty());
  EXPECT_THROW(Optimizer(SignSettings{.rate = 0}, parameters), Error);
}

TEST(Optimizer, StepsAreThoseOfPyTorch) {
  Machine machine(choose_isa(detect_cpu(), ""), 1);
  const auto reference = training_reference();
  ASSERT_EQ(reference["cases"].size(), kCases.size());
  for (const auto& [name, settings] : kCases) {
    const auto& expected = reference["cases"][name];
    std::vector<float> tall = start(kRows, kCols), wide = start(kCols, kRows);
    std::vector<Parameter> parameters = {{"tall", kRows, kCols, tall}, {"wide", kCols, kRows, wide}};
    Optimizer optimizer(settings, parameters);
    for (int step = 0; step < reference["steps"].get<int>(); ++step) {
      const std::vector<float> down = slope(step, kRows, kCols), across = slope(step, kCols, kRows);
      parameters[0].gradient = down;
      parameters[1].gradient = across;
      const double norm = gradient_norm(parameters, machine.pool);
      EXPECT_NEAR(norm, expected["norms"][static_cast<std::size_t>(step)].get<double>(), 1e-5) << name;
      const double factor = name == "adamw clipped" ? clip_factor(norm, 1.0) : 1.0;
      optimizer.step(parameters, {.gradient_factor = factor}, machine);
    }
    // A few roundings of numbers below 1 in each step; orthogonal matrices sum over sixty products of their own.
    const double tolerance = name.starts_with("muon") ? 5e-5 : 1e-6;
    for (const std::size_t p : {0u, 1u})
      for (std::size_t i = 0; i < parameters[p].values.size(); ++i)
        EXPECT_NEAR(static_cast<double>(parameters[p].values[i]), expected["values"][p][i].get<double>(), tolerance)
            << name << ", " << parameters[p].name << " " << i;
  }
}

TEST(Optimizer, BitsDoNotDependOnThreads) {
  Random random(4);
  std::vector<float> first(300 * 129), gradient(first.size());
  for (float& value : first) value = static_cast<float>(random.normal());
  for (float& value : gradient) value = static_cast<float>(random.normal());
  for (const auto& [name, settings] : kCases) {
    std::vector<std::vector<float>> results;
    std::vector<double> norms;
    for (const std::size_t threads : {1u, 2u, 5u}) {
      Machine machine(choose_isa(detect_cpu(), ""), threads);
      results.push_back(first);
      const std::vector<Parameter> parameters = {{"w", 300, 129, results.back(), gradient}};
      norms.push_back(gradient_norm(parameters, machine.pool));
      Optimizer optimizer(settings, parameters);
      for (int step = 0; step < 3; ++step) optimizer.step(parameters, {.rate_factor = 0.5}, machine);
    }
    EXPECT_NE(results[0], first) << name;
    EXPECT_EQ(results[0], results[1]) << name;
    EXPECT_EQ(results[0], results[2]) << name;
    EXPECT_EQ(norms[0], norms[1]);
    EXPECT_EQ(norms[0], norms[2]);
  }
}

// What is remembered is all that a run needs to go on.
TEST(Optimizer, GoesOnFromItsMemory) {
  Machine machine(choose_isa(detect_cpu(), ""), 1);
  for (const auto& [name, settings] : kCases) {
    std::vector<float> whole = start(kRows, kCols), halves = whole;
    std::vector<Parameter> one = {{"w", kRows, kCols, whole}}, other = {{"w", kRows, kCols, halves}};
    Optimizer through(settings, one), before(settings, other), after(settings, other);
    for (int step = 0; step < 6; ++step) {
      const std::vector<float> down = slope(step, kRows, kCols);
      one[0].gradient = other[0].gradient = down;
      through.step(one, {}, machine);
      if (step == 3) {
        after.set_steps(before.steps());
        const auto from = before.memory(0), to = after.memory(0);
        for (std::size_t i = 0; i < from.size(); ++i) std::ranges::copy(from[i].values, to[i].values.begin());
      }
      (step < 3 ? before : after).step(other, {}, machine);
    }
    EXPECT_EQ(whole, halves) << name;
  }
}

TEST(Optimizer, RefusesWhatMakesNoStep) {
  std::vector<float> values(4);
  const std::vector<Parameter> vector = {{"model.norm.weight", 1, 4, values}};
  const auto refusal = [&](const OptimizerSettings& settings) -> std::string {
    try {
      Optimizer(settings, vector);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
      return error.what();
    }
    return "accepted";
  };
  EXPECT_EQ(refusal(MuonSettings{}), "muon takes matrices, not vectors: model.norm.weight");
  EXPECT_EQ(refusal(AdamWSettings{.rate = 0}), "rate is a positive number: 0");
  EXPECT_EQ(refusal(AdamWSettings{.beta2 = 1}), "beta2 is at least 0 and less than 1: 1");
  EXPECT_EQ(refusal(AdamWSettings{.epsilon = 0}), "epsilon is a positive number: 0");
  EXPECT_EQ(refusal(SgdSettings{.weight_decay = -1}), "weight decay is no negative number: -1");
}

TEST(ClipFactor, ShortensWhatIsTooLong) {
  EXPECT_EQ(clip_factor(4, 1), 0.25);
  EXPECT_EQ(clip_factor(0.5, 1), 1.0);
  EXPECT_EQ(clip_factor(4, 0), 1.0);
  EXPECT_TRUE(std::isnan(clip_factor(std::numeric_limits<double>::quiet_NaN(), 1)));
}

// Columns of nearly unit length that are nearly at right angles, in the plane that the matrix spans.
TEST(Orthogonal, LengthsBecomeAlike) {
  Machine machine(choose_isa(detect_cpu(), ""), 1);
  Random random(9);
  constexpr std::size_t kTall = 96, kNarrow = 24;
  std::vector<float> x(kTall * kNarrow);
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(random.normal() * std::exp(0.1 * static_cast<double>(i % kNarrow)));
  make_orthogonal(x, kTall, kNarrow, 5, machine);
  for (std::size_t a = 0; a < kNarrow; ++a)
    for (std::size_t b = 0; b <= a; ++b) {
      double dot = 0;
      for (std::size_t r = 0; r < kTall; ++r)
        dot += static_cast<double>(x[r * kNarrow + a]) * static_cast<double>(x[r * kNarrow + b]);
      EXPECT_NEAR(dot, a == b ? 1.0 : 0.0, 0.6) << a << ", " << b;  // squares of [0.7, 1.2]
    }
  std::vector<float> zeros(12, 0.0f);
  make_orthogonal(zeros, 3, 4, 5, machine);
  EXPECT_EQ(zeros, std::vector<float>(12, 0.0f));
}

}  // namespace
}  // namespace nibble
