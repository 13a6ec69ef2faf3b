// SPDX-License-Identifier: Apache-2.0
//
// What holds for every type with super-blocks of 256, beyond the golden bytes: searches that survive any finite input,
// nearest codes that are nearest, and grids that do not depend on the scale of the values.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "base/random.h"
#include "format/quantized_tensor.h"

namespace nibble {
namespace {

constexpr std::size_t kSpan = 256;

std::vector<FormatPtr> super_block_formats() {
  std::vector<FormatPtr> formats;
  for (const char* name : {"q2_k", "q3_k", "q4_k", "q5_k", "q6_k", "iq4_xs", "iq3_s", "iq3_xxs", "iq2_s", "iq2_xs",
                           "iq2_xxs", "iq1_m", "iq1_s"})
    formats.push_back(find_format(name));
  return formats;
}

std::vector<float> normal_values(std::uint64_t seed, float scale, std::size_t count = kSpan) {
  Random random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = scale * static_cast<float>(random.normal());
  return values;
}

double squared_error(std::span<const float> x, std::span<const float> y, std::span<const float> weights = {}) {
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double difference = static_cast<double>(x[i]) - static_cast<double>(y[i]);
    sum += (weights.empty() ? 1.0 : static_cast<double>(weights[i])) * difference * difference;
  }
  return sum;
}

class SuperBlocks : public testing::TestWithParam<FormatPtr> {
 protected:
  const FormatPtr format_ = GetParam();

  std::vector<std::byte> encode(std::span<const float> x, std::span<const float> importance = {},
                                FitRule rule = FitRule::automatic) const {
    QuantizedTensor tensor(format_, 1, x.size());
    format_->encode_row(x, importance, nullptr, 0, FitOptions{.rule = rule}, tensor.row(0));
    return tensor.planes[0];
  }
  std::vector<float> decode(std::span<const std::byte> bytes, std::size_t cols = kSpan) const {
    std::vector<float> out(cols);
    ConstRowPlanes planes{};
    planes[0] = bytes.data();
    format_->decode_row(planes, nullptr, 0, out);
    return out;
  }
  std::vector<float> round_trip(std::span<const float> x, std::span<const float> importance = {},
                                FitRule rule = FitRule::automatic) const {
    return decode(encode(x, importance, rule), x.size());
  }
};

TEST_P(SuperBlocks, ZerosStayZeros) {
  const std::vector<float> zeros(kSpan, 0.0f), importance(kSpan, 1.0f);
  for (const FitRule rule : {FitRule::automatic, FitRule::absmax})
    for (const float value : round_trip(zeros, importance, rule)) EXPECT_EQ(value, 0.0f);
}

TEST_P(SuperBlocks, ZeroSubBlocksStayZerosWhereZeroIsAPoint) {
  if (format_->name().starts_with("iq")) {
    // No point of these is zero, but the smallest step keeps what is lost small.
    std::vector<float> x = normal_values(3, 1.0f);
    std::fill(x.begin() + 64, x.begin() + 128, 0.0f);
    for (std::size_t i = 64; i < 128; ++i) EXPECT_LT(std::fabs(round_trip(x)[i]), 0.75f);
    return;
  }
  std::vector<float> x = normal_values(3, 1.0f);
  std::fill(x.begin() + 64, x.begin() + 128, 0.0f);
  const auto y = round_trip(x);
  for (std::size_t i = 64; i < 128; ++i) EXPECT_EQ(y[i], 0.0f) << i;
}

TEST_P(SuperBlocks, AnyFiniteValuesGiveFiniteOnes) {
  const float huge = std::numeric_limits<float>::max(), tiny = std::numeric_limits<float>::denorm_min();
  std::vector<std::vector<float>> cases;
  for (const float scale : {huge, 1e30f, 1e9f, 1e4f, 1e-4f, 1e-7f, 1e-9f, 1e-30f, tiny}) {
    cases.push_back(std::vector<float>(kSpan, scale));
    cases.push_back(std::vector<float>(kSpan, -scale));
    cases.push_back(normal_values(7, 1.0f));
    for (float& value : cases.back()) value *= scale / 8;
    cases.push_back(std::vector<float>(kSpan, 0.0f));
    cases.back()[100] = scale;
    cases.push_back(normal_values(8, 1e-3f));
    cases.back()[200] = -scale;
  }
  std::vector<float> importance = normal_values(9, 1.0f);
  for (float& weight : importance) weight = std::exp(20 * weight);
  for (const auto& x : cases)
    for (const FitRule rule : {FitRule::automatic, FitRule::absmax, FitRule::percentile})
      for (const std::span<const float> weights : {std::span<const float>{}, std::span<const float>(importance)})
        for (const float value : round_trip(x, weights, rule))
          ASSERT_TRUE(std::isfinite(value)) << x[0] << " " << x[100] << " " << x[200];
}

TEST_P(SuperBlocks, ScalingByAPowerOfTwoScalesTheResult) {
  const auto x = normal_values(11, 0.5f);
  auto scaled = x;
  for (float& value : scaled) value *= 64;
  const auto y = round_trip(x), scaled_y = round_trip(scaled);
  for (std::size_t i = 0; i < kSpan; ++i) ASSERT_EQ(scaled_y[i], 64 * y[i]) << i;
}

TEST_P(SuperBlocks, ImportanceOfNothingIsNoImportance) {
  const auto x = normal_values(12, 0.02f);
  EXPECT_EQ(encode(x, std::vector<float>(kSpan, 0.0f)), encode(x));
  EXPECT_EQ(encode(x, std::vector<float>(kSpan, 1.0f)), encode(x));
  EXPECT_EQ(encode(x, std::vector<float>(kSpan, 1e30f)), encode(x));
}

TEST_P(SuperBlocks, ImportanceHelpsWhatIsImportant) {
  constexpr std::size_t kCols = 16 * kSpan;
  const auto x = normal_values(13, 0.02f, kCols);
  auto importance = normal_values(14, 1.0f, kCols);
  for (float& weight : importance) weight = std::exp(2 * weight);
  EXPECT_LT(squared_error(x, round_trip(x, importance), importance),
            0.98 * squared_error(x, round_trip(x), importance));
}

TEST_P(SuperBlocks, SearchBeatsWholeRanges) {
  constexpr std::size_t kCols = 16 * kSpan;
  const auto x = normal_values(15, 0.02f, kCols);
  EXPECT_LT(squared_error(x, round_trip(x)), 0.95 * squared_error(x, round_trip(x, {}, FitRule::absmax)));
}

// Storing what was stored costs next to nothing: the grid that gave the values is among those that a search comes near
// to.
TEST_P(SuperBlocks, StoringAgainLosesLittle) {
  constexpr std::size_t kCols = 16 * kSpan;
  const auto x = normal_values(16, 0.02f, kCols);
  const auto y = round_trip(x), z = round_trip(y);
  EXPECT_LT(squared_error(y, z), 0.25 * squared_error(x, y));
}

TEST_P(SuperBlocks, CodesAreNearest) {
  const std::size_t unit = format_->info().unit;
  if (unit != 1) GTEST_SUCCEED() << "vector types: iq_codebook_test.cpp";
  const auto x = normal_values(17, 0.02f);
  std::vector<std::byte> grid(format_->grid_bytes());
  format_->fit(x, {}, nullptr, 0, FitOptions{}, grid.data());
  for (std::size_t i = 0; unit == 1 && i < kSpan; ++i) {
    for (const float factor : {0.0f, 0.5f, 1.0f, 3.0f, -1e6f}) {
      const float target = factor * x[i];
      float chosen, other;
      format_->value(grid.data(), i, format_->nearest(grid.data(), i, &target, nullptr), &chosen);
      for (Code code = 0; code < format_->num_codes(); ++code) {
        format_->value(grid.data(), i, code, &other);
        // The comparison is made in units of the step, where rounding may turn what is nearly a tie.
        ASSERT_LE(std::fabs(target - chosen), std::fabs(target - other) + 2e-6f * std::fabs(chosen))
            << "column " << i << ", code " << code;
      }
    }
  }
}

TEST_P(SuperBlocks, InfiniteScalesAreDefects) {
  auto bytes = encode(normal_values(18, 0.02f));
  ConstRowPlanes planes{};
  planes[0] = bytes.data();
  EXPECT_EQ(format_->find_defect(planes, kSpan), std::nullopt);
  // The scale lies at the front or at the end, or (iq1_m) in the top bits of the last words: one of these makes it
  // infinite.
  const std::uint16_t infinity = 0x7c00;
  auto front = bytes, end = bytes, spread = bytes, before_scales = bytes;
  std::memcpy(front.data(), &infinity, 2);
  std::memcpy(end.data() + end.size() - 2, &infinity, 2);
  for (std::size_t i = 0; i < 4; ++i) {
    std::uint16_t word;
    std::memcpy(&word, spread.data() + spread.size() - 8 + 2 * i, 2);
    word = static_cast<std::uint16_t>((word & 0x0fff) | ((infinity >> (4 * i) & 15) << 12));
    std::memcpy(spread.data() + spread.size() - 8 + 2 * i, &word, 2);
  }
  bool found = false;
  for (const auto* damaged : {&front, &end, &spread}) {
    planes[0] = damaged->data();
    const auto defect = format_->find_defect(planes, kSpan);
    if (defect) {
      found = true;
      EXPECT_NE(defect->find("not finite at column 0"), std::string::npos) << *defect;
    }
  }
  EXPECT_TRUE(found);
}

INSTANTIATE_TEST_SUITE_P(Formats, SuperBlocks, testing::ValuesIn(super_block_formats()),
                         [](const auto& param) { return param.param->name(); });

}  // namespace
}  // namespace nibble
