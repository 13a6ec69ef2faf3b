// SPDX-License-Identifier: Apache-2.0
//
// Feedback rounding against what it must be: rounding when columns are independent, better than rounding when they are
// not, never undone by the sweeps, indifferent to threads.
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/chosen_isa.h"
#include "model_free_matrix.h"
#include "quantize/round/feedback_factor.h"
#include "quantize/round/gptq.h"
#include "quantize/round/nearest.h"
#include "quantize/round/target.h"

namespace nibble {
namespace {

// Inputs whose columns are mixtures of a few common sources, so that they know of each other; column 3 is never used.
SiteStatistics correlated_site(std::size_t cols, std::uint64_t seed) {
  Random random(seed);
  const std::size_t tokens = 4 * cols, sources = cols / 8;
  std::vector<double> mixing(sources * cols), x(cols), source(sources);
  for (double& value : mixing) value = random.normal();
  std::vector<double> moment(cols * cols);
  for (std::size_t t = 0; t < tokens; ++t) {
    for (double& value : source) value = random.normal();
    for (std::size_t i = 0; i < cols; ++i) {
      x[i] = 0.5 * random.normal();
      for (std::size_t k = 0; k < sources; ++k) x[i] += mixing[k * cols + i] * source[k];
      x[i] *= i % 16 == 0 ? 4 : 1;
    }
    x[3] = 0;
    for (std::size_t i = 0; i < cols; ++i)
      for (std::size_t j = 0; j < cols; ++j) moment[i * cols + j] += x[i] * x[j] / static_cast<double>(tokens);
  }
  SiteStatistics site;
  site.site = "test";
  site.count = tokens;
  for (std::size_t i = 0; i < cols; ++i) site.mean_square.push_back(static_cast<float>(moment[i * cols + i]));
  site.second_moment.assign(moment.begin(), moment.end());
  return site;
}

SiteStatistics independent_site(std::size_t cols) {
  SiteStatistics site;
  site.count = 1;
  site.mean_square.assign(cols, 1.0F);
  site.second_moment.assign(cols * cols, 0.0F);
  for (std::size_t i = 0; i < cols; ++i) site.second_moment[i * cols + i] = 1;
  return site;
}

struct Rounded {
  QuantizedTensor tensor;
  std::vector<float> values;
};

Rounded round_matrix(const Rounder& rounder, const FormatPtr& format, const std::vector<float>& weights,
                     std::size_t cols, const SiteStatistics* site, FitRule rule, std::size_t threads) {
  Machine machine(chosen_isa(), threads);
  const std::size_t rows = weights.size() / cols;
  const auto plan = site == nullptr ? nullptr : rounder.plan(*site, *format, machine);
  const std::span<const float> importance =
      site == nullptr ? std::span<const float>() : std::span<const float>(site->mean_square);
  const auto grid = format->prepare(weights, rows, cols, importance, {.rule = rule});
  Rounded result{QuantizedTensor(format, rows, cols), {}};
  if (grid) format->pack_tensor(grid.get(), result.tensor.row(0));
  rounder.encode_band(*format, {weights, importance, rows, cols, 0, grid.get(), {.rule = rule}, plan.get()},
                      result.tensor, machine);
  result.values = make_view(format, rows, cols, result.tensor.view().planes, "test").decode();
  return result;
}

double loss(const std::vector<float>& weights, const std::vector<float>& stored, const SiteStatistics& site) {
  const std::size_t cols = site.width();
  double total = 0;
  for (std::size_t row = 0; row < weights.size() / cols; ++row)
    for (std::size_t i = 0; i < cols; ++i)
      for (std::size_t j = 0; j < cols; ++j)
        total += (static_cast<double>(weights[row * cols + i]) - static_cast<double>(stored[row * cols + i])) *
                 static_cast<double>(site.second_moment[i * cols + j]) *
                 (static_cast<double>(weights[row * cols + j]) - static_cast<double>(stored[row * cols + j]));
  return total;
}

std::vector<float> random_weights(std::size_t rows, std::size_t cols) {
  Random random(7);
  std::vector<float> weights(rows * cols);
  for (float& value : weights) value = static_cast<float>(0.05 * random.normal());
  return weights;
}

// Rows that are coded together: by tiles where columns are independent, better than that where they are not, the same
// bytes on any threads, and a last tile of fewer rows. The tensor's output error is that of its first rows.
TEST(FeedbackOfTiles, RoundsAllRowsOfATileAtOnce) {
  const FormatPtr format = find_format("trellis2:l8");
  const std::vector<float> weights = random_weights(100, 256);
  const SiteStatistics independent = independent_site(256), site = correlated_site(256, 3);
  const Rounded nearest = round_matrix(*make_nearest_rounder(), format, weights, 256, nullptr, FitRule::automatic, 1);
  const Rounded alike = round_matrix(*make_gptq_rounder({}), format, weights, 256, &independent, FitRule::automatic, 1);
  EXPECT_EQ(alike.tensor.planes, nearest.tensor.planes);
  const Rounded one = round_matrix(*make_gptq_rounder({}), format, weights, 256, &site, FitRule::automatic, 1);
  EXPECT_LT(loss(weights, one.values, site), 0.5 * loss(weights, nearest.values, site));
  const Rounded three = round_matrix(*make_gptq_rounder({}), format, weights, 256, &site, FitRule::automatic, 3);
  EXPECT_EQ(one.tensor.planes, three.tensor.planes);
  double error = 0, squares = 0;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    error += std::pow(static_cast<double>(weights[i] - nearest.values[i]), 2);
    squares += std::pow(static_cast<double>(weights[i]), 2);
  }
  EXPECT_NEAR(error / squares, 0.077, 0.004);
}

class Feedback : public testing::TestWithParam<const char*> {};

TEST_P(Feedback, EqualsRoundingWhenColumnsAreIndependent) {
  const FormatPtr format = find_format(GetParam());
  const std::vector<float> weights = random_weights(6, 512);
  const SiteStatistics site = independent_site(512);
  // Through fit and nearest, which is what feedback rounding goes through as well.
  class FitThenNearest final : public Rounder {
   public:
    std::string_view name() const noexcept override { return "test"; }
    void encode(const Format& f, const RoundInput& input, const RowPlanes& out) const override {
      f.Format::encode_row(input.values, input.importance, input.tensor_grid, input.row, input.fit, out);
    }
  };
  const Rounded nearest = round_matrix(FitThenNearest(), format, weights, 512, &site, FitRule::search, 1);
  for (const bool act_order : {false, true}) {
    const Rounded feedback =
        round_matrix(*make_gptq_rounder({.desc_act = act_order}), format, weights, 512, &site, FitRule::search, 1);
    // Vector types choose a unit's point by another search when they are given a metric; it may find another point as
    // near.
    if (format->info().unit > 1)
      EXPECT_NEAR(loss(weights, feedback.values, site) / loss(weights, nearest.values, site), 1, 0.02) << GetParam();
    else
      EXPECT_EQ(feedback.tensor.planes, nearest.tensor.planes) << GetParam() << " act_order " << act_order;
  }
}

TEST_P(Feedback, LosesLessThanRoundingAndSweepsNeverLoseMore) {
  const FormatPtr format = find_format(GetParam());
  const std::vector<float> weights = random_weights(16, 256);
  const SiteStatistics site = correlated_site(256, 11);
  const double nearest = loss(
      weights, round_matrix(*make_nearest_rounder(), format, weights, 256, &site, FitRule::search, 1).values, site);
  const double gptq =
      loss(weights, round_matrix(*make_gptq_rounder({}), format, weights, 256, &site, FitRule::search, 1).values, site);
  const double swept = loss(
      weights, round_matrix(*make_gptq_rounder({.sweeps = 2}), format, weights, 256, &site, FitRule::search, 1).values,
      site);
  EXPECT_LT(gptq, 0.8 * nearest) << GetParam();
  EXPECT_LT(swept, gptq) << GetParam();
}

TEST_P(Feedback, GivesTheSameBytesForAnyNumberOfThreads) {
  const FormatPtr format = find_format(GetParam());
  const std::vector<float> weights = random_weights(9, 256);
  const SiteStatistics site = correlated_site(256, 5);
  const auto rounder = make_gptq_rounder({.sweeps = 1});
  const Rounded one = round_matrix(*rounder, format, weights, 256, &site, FitRule::search, 1);
  const Rounded three = round_matrix(*rounder, format, weights, 256, &site, FitRule::search, 3);
  EXPECT_EQ(one.tensor.planes, three.tensor.planes) << GetParam();
}

// q8_0 and the like round so finely that sweeps have nothing left to find.
INSTANTIATE_TEST_SUITE_P(Formats, Feedback,
                         testing::Values("int4:g128", "int3:g64:asym", "int2:g64", "int4:row", "int4:g64:bias",
                                         "int4:block4x64:asym", "nf4:g64", "ternary:row", "q4_0", "q4_1", "q5_k",
                                         "q4_k", "q3_k", "q2_k", "q6_k", "iq4_nl", "iq4_xs", "iq2_xs", "iq3_xxs",
                                         "tq2_0"));

TEST(FeedbackFactor, ReproducesTheMomentWithoutDamping) {
  // With R rebuilt from N and the metrics, R R^T is the moment: for units of one column N_kj = R_kj / R_jj.
  constexpr std::size_t kCols = 64;
  const SiteStatistics site = correlated_site(kCols, 3);
  Machine machine(chosen_isa(), 1);
  const FeedbackFactor factor(site.second_moment, kCols, {.damp_percent = 0, .act_order = true, .block = 16}, machine);
  std::vector<double> r(kCols * kCols);
  for (std::size_t to = 0; to < factor.num_blocks(); ++to)
    for (std::size_t from = 0; from <= to; ++from)
      for (std::size_t i = 0; i < 16; ++i)
        for (std::size_t j = 0; j < 16; ++j) {
          const std::size_t row = from * 16 + i, col = to * 16 + j;
          const double pivot = std::sqrt(static_cast<double>(*factor.metric(col)));
          r[row * kCols + col] =
              row == col ? pivot : static_cast<double>(factor.feedback(from, to)[i * 16 + j]) * pivot;
        }
  double largest = 0;
  for (const float value : site.mean_square) largest = std::max(largest, static_cast<double>(value));
  for (std::size_t i = 0; i < kCols; ++i)
    for (std::size_t j = 0; j < kCols; ++j) {
      if (factor.order()[i] == 3 || factor.order()[j] == 3) continue;  // the dead column
      double product = 0;
      for (std::size_t k = 0; k < kCols; ++k) product += r[i * kCols + k] * r[j * kCols + k];
      // f32 panels: each of kCols products carries a relative error of 2^-23 of at most the largest diagonal.
      EXPECT_NEAR(product, static_cast<double>(site.second_moment[factor.order()[i] * kCols + factor.order()[j]]),
                  kCols * 0x1p-22 * largest);
    }
  EXPECT_EQ(factor.dead_columns(), 1u);
}

TEST(FeedbackFactor, RepairsAMomentThatHasNoFactor) {
  SiteStatistics site = independent_site(32);
  site.second_moment[1] = site.second_moment[32] =
      3;  // not positive definite: no text gives this, but damaged files may
  Machine machine(chosen_isa(), 1);
  const FeedbackFactor factor(site.second_moment, 32, {}, machine);
  EXPECT_GT(factor.repairs(), 5u);
  EXPECT_GT(factor.damping(), 1.0);
}

TEST(FeedbackFactor, TakesAMomentOfNothingButZeros) {
  const std::vector<float> zeros(32 * 32);
  Machine machine(chosen_isa(), 1);
  const FeedbackFactor factor(zeros, 32, {}, machine);
  EXPECT_EQ(factor.dead_columns(), 32u);
  EXPECT_EQ(factor.repairs(), 0u);
}

TEST(SolveTarget, GivesTheWeightsThemselvesWhenInputsHaveNotChanged) {
  const SiteStatistics site = correlated_site(64, 9);
  const std::vector<float> weights = random_weights(5, 64);
  std::vector<float> outputs(weights.size());
  for (std::size_t row = 0; row < 5; ++row)
    for (std::size_t j = 0; j < 64; ++j) {
      double sum = 0;
      for (std::size_t i = 0; i < 64; ++i)
        sum += static_cast<double>(weights[row * 64 + i]) * static_cast<double>(site.second_moment[i * 64 + j]);
      outputs[row * 64 + j] = static_cast<float>(sum);
    }
  Machine machine(chosen_isa(), 1);
  const FeedbackFactor factor(site.second_moment, 64, {}, machine);
  const std::vector<float> target = solve_target(factor, weights, outputs, 5, machine);
  // Condition number at most 1 / damping times the spread of the diagonal; f32 products of 64 terms.
  for (std::size_t i = 0; i < weights.size(); ++i) EXPECT_NEAR(target[i], weights[i], 1e-3) << i;
}

// (H + D) W*^T = (E[y x'^T] + W D)^T, with more columns than are solved for at once, in any order and for units of
// several columns.
TEST(SolveTarget, SolvesForOutputsOfOtherInputs) {
  constexpr std::size_t kCols = 296, kRows = 3, kDead = 7;
  SiteStatistics site = correlated_site(kCols, 4);
  for (std::size_t i = 0; i < kCols; ++i)
    site.second_moment[i * kCols + kDead] = site.second_moment[kDead * kCols + i] = 0;
  std::vector<float> weights = random_weights(kRows, kCols), outputs = random_weights(kRows, kCols);
  for (std::size_t row = 0; row < kRows; ++row) outputs[row * kCols + kDead] = 0;
  for (const FactorOptions& options :
       {FactorOptions{.act_order = false}, FactorOptions{.act_order = true}, FactorOptions{.unit = 4},
        FactorOptions{.act_order = false, .unit = 8, .block = 64}}) {
    std::vector<float> first;
    for (const std::size_t threads : {1u, 3u}) {
      Machine machine(chosen_isa(), threads);
      const FeedbackFactor factor(site.second_moment, kCols, options, machine);
      const std::vector<float> target = solve_target(factor, weights, outputs, kRows, machine);
      if (first.empty()) first = target;
      EXPECT_EQ(target, first);
      for (std::size_t row = 0; row < kRows; ++row)
        for (std::size_t j = 0; j < kCols; ++j) {
          const double added = static_cast<double>(factor.added()[j]);
          double sum = added * static_cast<double>(target[row * kCols + j]), magnitude = std::fabs(sum);
          for (std::size_t i = 0; i < kCols; ++i) {
            const double term =
                static_cast<double>(target[row * kCols + i]) * static_cast<double>(site.second_moment[i * kCols + j]);
            sum += term, magnitude += std::fabs(term);
          }
          const double wanted =
              static_cast<double>(outputs[row * kCols + j]) + added * static_cast<double>(weights[row * kCols + j]);
          // Substitution is backward stable: two systems in f32, each a perturbation of its triangle by at most kCols
          // roundings.
          EXPECT_NEAR(sum, wanted, 2 * kCols * 0x1p-24 * std::sqrt(double{kCols}) * magnitude + 1e-6)
              << row << ", " << j;
        }
      for (std::size_t row = 0; row < kRows; ++row)  // an input that is never there asks for nothing
        EXPECT_NEAR(target[row * kCols + kDead], weights[row * kCols + kDead], 1e-5);
    }
  }
}

}  // namespace
}  // namespace nibble
