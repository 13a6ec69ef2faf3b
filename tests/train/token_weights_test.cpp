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
  const auto watch = [&](std::int64_t layer, const Linear& op, std::span<const float> gradient) {
    for (std::size_t i = 0; i < gradient.size() && layer == 1 && op.part == "down"; ++i)
      squares[i / op.rows] += static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
  };
  Tape tape(model.parts().network(), weights, {.watch = watch}, machine);
  tape.run(tokens.ids, {kWindows, kLength}, next_token_loss(targets, machine), Tape::Walk::there_and_back);
  const double mean = std::accumulate(squares.begin(), squares.end(), 0.0) / static_cast<double>(squares.size());
  for (std::size_t t = 0; t < squares.size(); ++t)
    EXPECT_NEAR(found.of(1, "mlp_out", t / kLength)[t % kLength], squares[t] / mean, 1e-4 * (1 + squares[t] / mean));
}

}  // namespace
}  // namespace nibble
