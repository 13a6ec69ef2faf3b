// SPDX-License-Identifier: Apache-2.0
//
// Losses: what they are of numbers that can be worked out, and their slopes against differences.
#include "train/losses.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/chosen_isa.h"

namespace nibble {
namespace {

constexpr std::size_t kTokens = 3, kWords = 5;

std::vector<float> logits_of(int seed) {
  std::vector<float> logits;
  for (std::size_t i = 0; i < kTokens * kWords; ++i)
    logits.push_back(static_cast<float>((static_cast<int>(i) * 7 + seed) % 11 - 5) / 4);
  return logits;
}

double mean_of(const LossFunction& loss, std::vector<float> logits, std::vector<float>* slopes = nullptr) {
  std::vector<double> losses(kTokens);
  loss(0, logits, losses);
  if (slopes != nullptr) *slopes = logits;
  return losses[0] + losses[1] + losses[2];
}

void expect_slopes(const LossFunction& loss) {
  std::vector<float> slopes;
  mean_of(loss, logits_of(1), &slopes);
  for (std::size_t i = 0; i < slopes.size(); ++i) {
    std::vector<float> up = logits_of(1), down = up;
    up[i] += 0.01F;
    down[i] -= 0.01F;
    EXPECT_NEAR(slopes[i], (mean_of(loss, up) - mean_of(loss, down)) / 0.02, 2e-5) << i;
  }
}

LossFunction teacher_loss(float temperature, Machine& machine) {
  return divergence_loss({[](std::size_t first, std::span<float> logits) {
                            const std::vector<float> taught = logits_of(4);
                            std::copy_n(taught.begin() + static_cast<std::ptrdiff_t>(first * kWords), logits.size(),
                                        logits.begin());
                          },
                          kTokens, temperature},
                         machine);
}

TEST(Losses, SlopesAreDifferences) {
  Machine machine(chosen_isa(), 1);
  const std::vector<std::int32_t> targets = {2, kNoTarget, 4};
  expect_slopes(next_token_loss(targets, machine));
  expect_slopes(teacher_loss(1, machine));
  expect_slopes(teacher_loss(2, machine));
  expect_slopes(mixed_loss(teacher_loss(2, machine), 0.3, next_token_loss(targets, machine)));
}

TEST(Losses, AMixtureIsTheSumOfItsShares) {
  Machine machine(chosen_isa(), 1);
  const std::vector<std::int32_t> targets = {2, 0, 4};
  const LossFunction taught = teacher_loss(1, machine), text = next_token_loss(targets, machine);
  const double a = mean_of(taught, logits_of(1)), b = mean_of(text, logits_of(1));
  EXPECT_NEAR(mean_of(mixed_loss(taught, 0.25, text), logits_of(1)), 0.25 * a + 0.75 * b, 1e-6);
  EXPECT_EQ(mean_of(mixed_loss(taught, 1, text), logits_of(1)), a);
  EXPECT_EQ(mean_of(mixed_loss(taught, 0, text), logits_of(1)), b);
  EXPECT_EQ(mean_of(taught, logits_of(4)), 0);  // what the teacher says
}

}  // namespace
}  // namespace nibble
