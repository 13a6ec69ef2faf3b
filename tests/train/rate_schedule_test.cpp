// SPDX-License-Identifier: Apache-2.0
#include "train/rate_schedule.h"

#include <gtest/gtest.h>

#include "train/training_reference.h"

namespace nibble {
namespace {

// Schedules of transformers, whose first step is of no size: here the warm-up begins at its second.
TEST(RateSchedule, IsThatOfOtherPrograms) {
  const nlohmann::json reference = training_reference();
  for (const auto& [name, factors] : reference["schedules"].items()) {
    const RateSchedule schedule{.fall = *find_rate_fall(name), .steps = 20, .warm_up = 4};
    for (std::uint64_t step = 0; step < 20; ++step)
      EXPECT_NEAR(rate_factor(schedule, step), factors[step < 4 ? step + 1 : step].get<double>(), 1e-15)
          << name << ", step " << step;
  }
}

TEST(RateSchedule, HoldsBeforeItFallsToItsLast) {
  const RateSchedule schedule{.fall = RateFall::linear, .steps = 100, .warm_up = 10, .hold = 40, .last = 0.2};
  EXPECT_EQ(rate_factor(schedule, 9), 1.0);
  EXPECT_EQ(rate_factor(schedule, 49), 1.0);
  EXPECT_DOUBLE_EQ(rate_factor(schedule, 75), 0.2 + 0.8 * 0.5);
  EXPECT_EQ(rate_factor(schedule, 100), 0.2);
  EXPECT_EQ(rate_factor(schedule, 1000), 0.2);
  EXPECT_EQ(rate_factor({.fall = RateFall::constant, .steps = 10}, 1000), 1.0);
}

TEST(RateSchedule, NamesAreFoundAgain) {
  for (const RateFall fall : {RateFall::constant, RateFall::linear, RateFall::cosine})
    EXPECT_EQ(find_rate_fall(rate_fall_name(fall)), fall);
  EXPECT_FALSE(find_rate_fall("sideways"));
}

}  // namespace
}  // namespace nibble
