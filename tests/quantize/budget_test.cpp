// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "base/random.h"
#include "quantize/budget.h"

namespace nibble {
namespace {

std::vector<BudgetItem> random_items(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<BudgetItem> items;
  for (std::size_t i = 0; i < count; ++i) {
    BudgetItem item{"item", {}, {}};
    double loss = random.uniform();
    std::uint64_t bytes = 50 + random.below(100);
    for (int c = 0; c < 4; ++c) {
      item.candidates.push_back({"f", bytes, loss});
      bytes += 20 + random.below(60);
      loss *= random.uniform();
    }
    items.push_back(item);
  }
  return items;
}

// The best of all combinations, by trying them.
double best_loss(const std::vector<BudgetItem>& items, std::uint64_t max_bytes) {
  double best = 1e9;
  std::vector<std::size_t> choice(items.size());
  for (std::size_t number = 0; number < std::size_t{1} << (2 * items.size()); ++number) {
    for (std::size_t i = 0; i < items.size(); ++i) choice[i] = number >> (2 * i) & 3;
    if (bytes_of(items, choice) <= max_bytes) best = std::min(best, loss_of(items, choice));
  }
  return best;
}

TEST(Budget, FindsWhatTryingAllFinds) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<BudgetItem> items = random_items(5, seed);
    for (const std::uint64_t budget : {600u, 800u, 1000u}) {
      const std::vector<std::size_t> choice = solve_budget(items, budget);
      const double expected = best_loss(items, budget);
      if (choice.empty()) {
        EXPECT_EQ(expected, 1e9) << seed << " " << budget;
        continue;
      }
      EXPECT_LE(bytes_of(items, choice), budget);
      EXPECT_DOUBLE_EQ(loss_of(items, choice), expected) << seed << " " << budget;
    }
  }
}

TEST(Budget, FindsTheBestMixWhenNothingElseIsGoodEnough) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<BudgetItem> items = random_items(5, seed);
    const double least = best_loss(items, 1u << 20);
    const std::vector<std::size_t> choice = solve_loss(items, least * (1 + 1e-9));
    ASSERT_FALSE(choice.empty());
    EXPECT_NEAR(loss_of(items, choice), least, 1e-9 * least);
    EXPECT_TRUE(solve_loss(items, least * 0.999).empty());
  }
}

TEST(Budget, SpendsNoMoreThanALossNeeds) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<BudgetItem> items = random_items(5, seed);
    const double limit = 2 * best_loss(items, 1u << 20) + 0.1;
    const std::vector<std::size_t> choice = solve_loss(items, limit);
    ASSERT_FALSE(choice.empty());
    EXPECT_LE(loss_of(items, choice), limit);
    // A byte less than the bisection's resolution below it, and the loss cannot be met.
    EXPECT_GT(best_loss(items, bytes_of(items, choice) - 2), limit) << seed;
  }
  EXPECT_TRUE(solve_loss(random_items(3, 1), 1e-12).empty());
}

TEST(Budget, SaysWhenNothingFits) { EXPECT_TRUE(solve_budget(random_items(5, 1), 100).empty()); }

}  // namespace
}  // namespace nibble
