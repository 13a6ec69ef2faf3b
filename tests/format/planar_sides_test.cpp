// SPDX-License-Identifier: Apache-2.0
//
// Points of two to four bits that lie about 0 in other ways than integers of the full range.
#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "format/planar_encoding.h"

namespace nibble {
namespace {

TEST(PlanarInteger, TwoFormsOfTwoBits) {
  EXPECT_EQ(encode("int2:row", {-1.5f, 1.5f, 0.4f, 1.0f}).decoded, (std::vector<float>{-2, 1, 0, 1}));
  EXPECT_EQ(encode("int2:row:high", {-1.0f, 2.0f, 0.4f, 1.0f}).decoded, (std::vector<float>{-1, 2, 0, 1}));
  EXPECT_EQ(encode("int2:row:high", {1.0f, -2.0f, -0.4f, -1.0f}).decoded,
            (std::vector<float>{1, -2, 0, -1}));  // a negative scale
}

std::vector<float> standard_normal(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> x(count);
  for (float& value : x) value = static_cast<float>(random.normal());
  return x;
}

double mean_square_error(std::span<const float> x, std::span<const float> y) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += std::pow(static_cast<double>(x[i] - y[i]), 2);
  return sum / static_cast<double>(x.size());
}

TEST(PlanarInteger, SignedScalesGiveThePeakTheFarEnd) {
  const auto [tensor, y] = encode("int3:row:signed", {4.0f, -3.0f, 0.4f, 2.0f});
  EXPECT_EQ(as_float(tensor.planes[1]), -1.0f);
  EXPECT_EQ(y, (std::vector<float>{4, -3, 0, 2}));
  EXPECT_EQ(encode("int3:row:signed", {-4.0f, 3.0f, -0.4f, 2.0f}).decoded, (std::vector<float>{-4, 3, 0, 2}));
  const auto x = standard_normal(64 * 64, 5);
  const auto error_of = [&](std::string_view format) {
    return mean_square_error(x, encode(format, x, FitRule::search, 64).decoded);
  };
  EXPECT_LT(error_of("int2:g64:signed"), 0.95 * error_of("int2:g64"));
  EXPECT_LT(error_of("int3:g64:signed"), 0.98 * error_of("int3:g64"));
  // The older spelling has the same points under other codes.
  EXPECT_EQ(encode("int2:g64:high", x, FitRule::search, 64).decoded,
            encode("int2:g64:signed", x, FitRule::search, 64).decoded);
}

TEST(PlanarHalves, AreOddMultiplesOfHalfAScale) {
  const auto [tensor, y] = encode("int2:row:half", {-1.5f, 1.5f, 0.1f, -0.9f});
  EXPECT_EQ(as_float(tensor.planes[1]), 1.0f);
  EXPECT_EQ(tensor.planes[0][0], std::byte{0b01'10'11'00});
  EXPECT_EQ(y, (std::vector<float>{-1.5f, 1.5f, 0.5f, -0.5f}));
  EXPECT_EQ(encode("int4:row:half", {7.5f, -7.5f, 2.9f}).decoded, (std::vector<float>{7.5f, -7.5f, 2.5f}));
  EXPECT_DOUBLE_EQ(find_format("int2:g64:half")->info().bits_per_weight, 2.25);
  // Two-level scales have a zero, too.
  const auto two = encode("int2:g4:half:s8", {0, 0, 0, 0, 1.5f, -0.5f, 0.5f, -1.5f});
  EXPECT_EQ(std::vector<float>(two.decoded.begin(), two.decoded.begin() + 4), std::vector<float>(4, 0.0f));
}

// J. Max, Quantizing for minimum distortion, 1960, table II: the least error of equally spaced levels for the normal
// distribution.
TEST(PlanarHalves, ReachWhatEqualStepsCanForNormalNumbers) {
  const auto x = standard_normal(1 << 17, 6);
  EXPECT_NEAR(mean_square_error(x, encode("int2:row:half", x, FitRule::search).decoded), 0.1188, 0.1188 * 0.02);
  EXPECT_NEAR(mean_square_error(x, encode("int3:row:half", x, FitRule::search).decoded), 0.03744, 0.03744 * 0.02);
  EXPECT_NEAR(mean_square_error(x, encode("int4:row:half", x, FitRule::search).decoded), 0.01154, 0.01154 * 0.03);
}

TEST(PlanarHalves, NumbersThatLieOnThemAreFoundExactly) {
  const std::vector<float> x = {0.375f, -1.125f, 1.125f, 0.375f, 0.5f, 0.5f, -1.5f, -0.5f};
  EXPECT_EQ(encode("int2:g4:half", x, FitRule::exact).decoded, x);
  const std::vector<float> wide = {0.375f, 0.125f, -0.625f, 0.375f};  // 3, 1, -5, 3 eighths
  EXPECT_EQ(encode("int3:g4:half", wide, FitRule::exact).decoded, wide);
}

}  // namespace
}  // namespace nibble
