// SPDX-License-Identifier: Apache-2.0
//
// What tokens weigh at a site: numbers whose mean is 1, in proportion to the squares that the tape shows.
#include "train/token_weights.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"

namespace nibble {
namespace {

constexpr std::size_t kLength = 20, kWindows = 5;

CalibrationTokens some_tokens() {
  CalibrationTokens tokens;
  tokens.length = kLength;
  for (std::size_t i = 0; i < kLength * kWindows; ++i) tokens.ids.push_back(static_cast<std::int32_t>(i * i * 7 % 199));
  return tokens;
}

TEST(TokenWeights, HaveAMeanOfOneAndDoNotDependOnBatches) {
  const SourceModel model = SourceModel::open(data_directory() / "tiny_qwen3");
  const CalibrationTokens tokens = some_tokens();
  Machine machine(chosen_isa(), 2);
  const TokenWeights together = find_token_weights(model, tokens, {.windows_at_a_time = 8}, machine),
                     apart = find_token_weights(model, tokens, {.windows_at_a_time = 2}, machine);
  for (const std::int64_t layer : {0, 1})
    for (const Site& site : model.parts().network().layer(layer).sites) {
      double sum = 0, largest = 0;
      for (std::size_t window = 0; window < kWindows; ++window) {
        const std::span<const float> s = together.of(layer, site.name, window), t = apart.of(layer, site.name, window);
        ASSERT_EQ(s.size(), kLength) << site.name;
        for (std::size_t i = 0; i < kLength; ++i) {
          EXPECT_GE(s[i], 0);
          EXPECT_NEAR(s[i], t[i], 1e-4 * (1 + s[i])) << site.name;
          sum += static_cast<double>(s[i]);
          largest = std::max(largest, static_cast<double>(s[i]));
        }
      }
      EXPECT_NEAR(sum, kLength * kWindows, 1e-3);
      EXPECT_GT(largest, 1.5);
    }
  EXPECT_TRUE(together.of(0, "nowhere", 0).empty());
  EXPECT_TRUE(TokenWeights().empty());
}

// The site's Linears have the same say: of mlp_out, which is one, the weights are its squares.
TEST(TokenWeights, AreSquaresOfGradients) {
  const SourceModel model = SourceModel::open(data_directory() / "tiny_qwen3");
  const CalibrationTokens tokens = some_tokens();
  Machine machine(chosen_isa(), 1);
  const TokenWeights found = find_token_weights(model, tokens, {}, machine);
  NetworkWeights weights(model, machine.pool);
  std::vector<std::int32_t> targets(tokens.ids.begin() + 1, tokens.ids.end());
  targets.push_back(kNoTarget);
  for (std::size_t i = kLength - 1; i < targets.size(); i += kLength) targets[i] = kNoTarget;
  std::vector<double> squares(tokens.ids.size());
  const auto watch = [&](std::int64_t layer, const Linear& op, std::span<const float>,
                         std::span<const float> gradient) {
    for (std::size_t i = 0; i < gradient.size() && layer == 1 && op.part == "down"; ++i)
      squares[i / op.rows] += static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
  };
  Tape tape(model.parts().network(), weights, {.watch = watch}, machine);
  tape.run(tokens.ids, {kWindows, kLength}, next_token_loss(targets, machine), Tape::Walk::there_and_back);
  const double mean = std::accumulate(squares.begin(), squares.end(), 0.0) / static_cast<double>(squares.size());
  for (std::size_t t = 0; t < squares.size(); ++t)
    EXPECT_NEAR(found.of(1, "mlp_out", t / kLength)[t % kLength], squares[t] / mean, 1e-4 * (1 + squares[t] / mean));
}

// Of groups of rows each has its own squares, by the part.
TEST(TokenWeights, GroupsOfRowsHaveTheirOwn) {
  const SourceModel model = SourceModel::open(data_directory() / "tiny_qwen3");
  const CalibrationTokens tokens = some_tokens();
  Machine machine(chosen_isa(), 2);
  const TokenWeights one = find_token_weights(model, tokens, {}, machine),
                     three = find_token_weights(model, tokens, {.groups = 3}, machine);
  ASSERT_EQ(three.groups(), 3u);
  EXPECT_TRUE(three.of(1, "mlp_out", 0).empty());
  // Each is normalized by itself: what they are all together is a mean of theirs, whose shares are the same everywhere.
  NetworkWeights weights(model, machine.pool);
  std::vector<std::int32_t> targets(tokens.ids.begin() + 1, tokens.ids.end());
  targets.push_back(kNoTarget);
  for (std::size_t i = kLength - 1; i < targets.size(); i += kLength) targets[i] = kNoTarget;
  std::vector<double> shares(3);
  const auto watch = [&](std::int64_t layer, const Linear& op, std::span<const float>,
                         std::span<const float> gradient) {
    for (std::size_t i = 0; i < gradient.size() && layer == 1 && op.part == "down"; ++i)
      for (std::size_t group = 0; group < 3; ++group)
        if (i % op.rows >= begin_of_group(op.rows, 3, group) && i % op.rows < begin_of_group(op.rows, 3, group + 1))
          shares[group] += static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
  };
  Tape tape(model.parts().network(), weights, {.watch = watch}, machine);
  tape.run(tokens.ids, {kWindows, kLength}, next_token_loss(targets, machine), Tape::Walk::there_and_back);
  const double total = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (std::size_t t = 0; t < tokens.ids.size(); ++t) {
    double sum = 0;
    for (std::size_t group = 0; group < 3; ++group)
      sum += shares[group] / total * static_cast<double>(three.of(1, "down", t / kLength, group)[t % kLength]);
    const double all = static_cast<double>(one.of(1, "mlp_out", t / kLength)[t % kLength]);
    EXPECT_NEAR(sum, all, 1e-4 * (1 + all));
  }
}

// Tokens are drawn as often as the model says them, and the gradient is that of their loss.
TEST(TokenWeights, OwnTokensFollowTheDistribution) {
  Machine machine(chosen_isa(), 2);
  constexpr std::size_t kTokens = 20000;
  const std::vector<double> chances = {0.1, 0.2, 0.65, 0.05};
  std::vector<float> logits;
  for (std::size_t t = 0; t < kTokens; ++t)
    for (const double chance : chances) logits.push_back(static_cast<float>(std::log(chance) + 3));
  std::vector<double> losses(kTokens), seen(chances.size());
  own_token_loss({.seed = 5, .first_token = 7, .tokens = kTokens}, machine)(0, logits, losses);
  for (std::size_t t = 0; t < kTokens; ++t)
    for (std::size_t i = 0; i < chances.size(); ++i) {
      const double slope = static_cast<double>(logits[t * chances.size() + i]) * static_cast<double>(kTokens);
      if (slope > 0) continue;
      EXPECT_NEAR(slope, chances[i] - 1, 1e-4);
      EXPECT_NEAR(losses[t] * static_cast<double>(kTokens), -std::log(chances[i]), 1e-4);
      ++seen[i];
    }
  for (std::size_t i = 0; i < chances.size(); ++i)  // five deviations
    EXPECT_NEAR(seen[i] / kTokens, chances[i], 5 * std::sqrt(chances[i] * (1 - chances[i]) / kTokens));
}

}  // namespace
}  // namespace nibble
