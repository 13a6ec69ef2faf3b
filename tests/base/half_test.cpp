// SPDX-License-Identifier: Apache-2.0
#include "base/half.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace nibble {
namespace {

// The processor's own _Float16 conversion is the independent reference.
TEST(Half, EveryHalfWidensLikeTheCompiler) {
  for (std::uint32_t h = 0; h < 0x10000; ++h) {
    const auto half = std::bit_cast<_Float16>(static_cast<std::uint16_t>(h));
    const float expected = static_cast<float>(half), got = f16_to_f32(static_cast<std::uint16_t>(h));
    if (std::isnan(expected))
      EXPECT_TRUE(std::isnan(got)) << h;
    else
      EXPECT_EQ(std::bit_cast<std::uint32_t>(expected), std::bit_cast<std::uint32_t>(got)) << h;
  }
}

TEST(Half, NarrowingRoundsLikeTheCompiler) {
  // Around every half: the value, the midpoints to its neighbours, and one step of f32 to each side of them.
  for (std::uint32_t h = 0; h < 0x7c00; ++h) {
    const float value = f16_to_f32(static_cast<std::uint16_t>(h)),
                above = f16_to_f32(static_cast<std::uint16_t>(h + 1));
    const float middle = std::isinf(above) ? 65520.0f : value + (above - value) / 2;
    for (float x : {value, middle, std::nextafter(middle, 0.0f), std::nextafter(middle, 1e30f)})
      for (float s : {x, -x}) EXPECT_EQ(std::bit_cast<std::uint16_t>(static_cast<_Float16>(s)), f32_to_f16(s)) << s;
  }
}

TEST(Half, NarrowingKeepsNanAndInfinity) {
  EXPECT_EQ(f32_to_f16(std::numeric_limits<float>::infinity()), 0x7c00);
  EXPECT_EQ(f32_to_f16(-1e9f), 0xfc00);
  EXPECT_TRUE(std::isnan(f16_to_f32(f32_to_f16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isnan(bf16_to_f32(f32_to_bf16(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(Half, Bf16RoundsToNearestEven) {
  EXPECT_EQ(f32_to_bf16(1.0f), 0x3f80);
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3f808000u)), 0x3f80);  // tie, even below
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3f818000u)), 0x3f82);  // tie, even above
  EXPECT_EQ(f32_to_bf16(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_EQ(f32_to_bf16(std::numeric_limits<float>::max()), 0x7f80);
  for (std::uint32_t b = 0; b < 0x7f80; ++b) EXPECT_EQ(f32_to_bf16(bf16_to_f32(static_cast<std::uint16_t>(b))), b);
}

}  // namespace
}  // namespace nibble
