// SPDX-License-Identifier: Apache-2.0
#include "base/time_left.h"

#include <gtest/gtest.h>

namespace nibble {
namespace {

TEST(SecondsLeft, FollowFromThePace) {
  EXPECT_EQ(seconds_left(10, 0, 25, 100), 30);
  EXPECT_EQ(seconds_left(10, 0, 100, 100), 0);
}

// What lay there when the work was taken up took no time of this run.
TEST(SecondsLeft, CountFromWhereTheWorkWasTakenUp) { EXPECT_EQ(seconds_left(10, 2000, 2100, 6000), 390); }

TEST(SecondsLeft, AreNotKnownAtOnce) {
  EXPECT_FALSE(seconds_left(10, 0, 0, 100));
  EXPECT_FALSE(seconds_left(10, 0, 1, 100));
  EXPECT_TRUE(seconds_left(10, 0, 2, 100));
  EXPECT_FALSE(seconds_left(10, 50, 50, 100));
  EXPECT_FALSE(seconds_left(10, 0, 101, 100));
}

}  // namespace
}  // namespace nibble
