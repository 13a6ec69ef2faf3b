// SPDX-License-Identifier: Apache-2.0
#include "pipeline/tell/explain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "format/planar/format.h"
#include "format/row_tiles.h"
#include "nibble/error.h"

namespace nibble {
namespace {

Explanation explain(std::string_view format, std::vector<float> numbers,
                    std::optional<std::pair<float, float>> range = {}, FitRule rule = FitRule::automatic) {
  return explain_format(
      {.format = find_format(format), .fit = {.rule = rule}, .numbers = std::move(numbers), .range = range});
}

std::string value_of(const Explanation& explanation, std::string_view step) {
  for (const ExplainedStep& s : explanation.steps)
    if (s.name == step) return s.value;
  return "none";
}

std::string refusal(std::string_view format, std::vector<float> numbers,
                    std::optional<std::pair<float, float>> range = {}) {
  try {
    explain(format, std::move(numbers), range);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    return error.what();
  }
  return "";
}

// Worked by hand: scale 5.5 / 255 = 0.0215686, zero -128 + round(115.909) = -12.
TEST(Explain, AsymmetricBytesByHand) {
  const Explanation e = explain("int8:tensor:asym", {3.0f, 0.0f, -2.5f}, std::pair{-2.5f, 3.0f});
  EXPECT_EQ(value_of(e, "range"), "-2.5 .. 3");
  EXPECT_EQ(value_of(e, "scale"), "0.0215686");
  EXPECT_EQ(value_of(e, "zero point"), "-12");
  EXPECT_EQ(e.steps[1].formula, "(3 - (-2.5)) / 255");
  EXPECT_EQ(e.steps[2].formula, "-128 + round(2.5 / 0.0215686) = round(115.909)");
  EXPECT_EQ(e.rule, "q = clamp(round(x / scale) + zero, -128, 127) with zero = -12;  x ~ scale * (q - zero)");
  ASSERT_EQ(e.numbers.size(), 3u);
  EXPECT_EQ(e.numbers[0].code, 127);
  EXPECT_NEAR(e.numbers[0].decoded, 2.998039f, 1e-6f);
  EXPECT_NEAR(e.numbers[0].error, -0.001961, 1e-6);
  EXPECT_EQ(e.numbers[0].how, "round(3 / 0.0215686) + (-12) = 139 + (-12) = 127");
  EXPECT_EQ(e.numbers[1].code, -12);
  EXPECT_EQ(e.numbers[1].decoded, 0.0f);
  EXPECT_EQ(e.numbers[2].code, -128);
  ASSERT_TRUE(e.zero_points);
  EXPECT_EQ(e.zero_points->of_signed, -12);
  EXPECT_EQ(e.zero_points->of_unsigned, 116);
  EXPECT_EQ(e.zero_points->example, 3.0f);
  EXPECT_NEAR(e.zero_points->mixed_up, 0.0215686 * (127 - 116), 1e-5);
}

TEST(Explain, SaysWhatIsLeftOutOfIt) {
  EXPECT_TRUE(explain("int4:g32+outliers:1%", {1, 2, 3}).description.ends_with("by 16 bits, which are left out here"));
  const Explanation e = explain("int4:row+sparse:2:4", {1, 2, 3, 4});
  ASSERT_EQ(e.numbers.size(), 4u);
  EXPECT_EQ(e.numbers[0].how, "one of the two of four that are left out");
  EXPECT_EQ(e.numbers[0].code, 0);
  EXPECT_EQ(e.numbers[1].decoded, 0.0f);
  EXPECT_NEAR(e.numbers[2].decoded, 3.0f, 0.3f);
  EXPECT_NEAR(e.numbers[3].decoded, 4.0f, 0.3f);
}

TEST(Explain, UnsignedNamesTheSameCodesFromZero) {
  const Explanation e = explain("uint8:tensor:asym", {3.0f, 0.0f, -2.5f}, std::pair{-2.5f, 3.0f});
  EXPECT_EQ(value_of(e, "zero point"), "116");
  EXPECT_EQ(e.numbers[0].code, 255);
  EXPECT_EQ(e.numbers[1].code, 116);
  EXPECT_EQ(e.numbers[2].code, 0);
}

TEST(Explain, SymmetricRulesByHand) {
  const Explanation byte = explain("int8:row", {2.54f, -1.0f});
  EXPECT_EQ(byte.steps[1].formula, "2.54 / 127");
  EXPECT_EQ(byte.numbers[1].code, -50);
  EXPECT_FALSE(byte.zero_points);
  const Explanation nibble = explain("int4:row", {7.5f, -7.5f, 1.0f}, {}, FitRule::absmax);
  EXPECT_EQ(nibble.steps[1].formula, "7.5 / 7.5");
  EXPECT_EQ(nibble.numbers[0].code, 7);
  EXPECT_EQ(nibble.numbers[0].how, "round(7.5 / 1) = round(7.5) = 8, cut to 7");
  EXPECT_EQ(nibble.numbers[1].code, -8);
  EXPECT_EQ(nibble.points.size(), 16u);
  EXPECT_EQ(nibble.points.front(), -8.0f);
}

TEST(Explain, SaysWhenAScaleWasSearched) {
  const Explanation e = explain("int4:g32", {0.9f, 0.3f, -0.2f});
  EXPECT_EQ(e.steps[1].formula.substr(0, 37), "searched: the least squared error; th");
  EXPECT_NE(e.fitted_on.find("29 numbers spread evenly"), std::string::npos) << e.fitted_on;
}

TEST(Explain, NumbersOutsideTheRangeAreCut) {
  const Explanation e = explain("int8:tensor:asym", {10.0f, -10.0f}, std::pair{-2.5f, 3.0f});
  EXPECT_EQ(e.numbers[0].code, 127);
  EXPECT_EQ(e.numbers[1].code, -128);
  EXPECT_NE(e.numbers[0].how.find("cut to 127"), std::string::npos);
}

// Worked by hand: scale 3 / 15, the bias is the lower end; (14 - 12) / 0.2 = 10.
TEST(Explain, BiasesByHand) {
  const Explanation e = explain("int4:g4:bias:f32", {15.0f, 12.0f, 14.0f}, {}, FitRule::absmax);
  EXPECT_EQ(value_of(e, "range"), "12 .. 15");
  EXPECT_EQ(value_of(e, "scale"), "0.2");
  EXPECT_EQ(value_of(e, "bias"), "12");
  EXPECT_EQ(e.steps[1].formula, "(15 - 12) / 15");
  EXPECT_EQ(e.rule, "q = clamp(round((x - bias) / scale), 0, 15);  x ~ scale * q + bias");
  ASSERT_EQ(e.numbers.size(), 3u);
  EXPECT_EQ(e.numbers[0].code, 15);
  EXPECT_EQ(e.numbers[2].code, 10);
  EXPECT_EQ(e.numbers[2].how, "round((14 - 12) / 0.2) = round(10) = 10");
}

TEST(Explain, TwoLevelScalesShowBothLevels) {
  const Explanation e = explain("q4_k", {0.1f, -0.2f, 0.3f});
  const double d = std::stod(value_of(e, "scale d of the block")),
               integer = std::stod(value_of(e, "integer of the sub-block"));
  EXPECT_NEAR(d * integer, std::stod(value_of(e, "step = d * integer")), 1e-6);
  EXPECT_GE(integer, 0);
  EXPECT_LE(integer, 63);
}

// The table's own words: points of E2M1, a power of two.
TEST(Explain, MicroscalingByHand) {
  const Explanation e = explain("mxfp4", {3.0f, -2.5f, 0.4f}, {}, FitRule::absmax);
  EXPECT_EQ(value_of(e, "scale 2^(e - 127)"), "0.5");  // 2^(floor(log2 3) - 2)
  EXPECT_EQ(e.numbers[0].decoded, 3.0f);
  EXPECT_EQ(e.numbers[1].decoded, -2.0f);  // -5 lies between -4 and -6
  EXPECT_EQ(e.numbers[0].how, "3 / 0.5 = 6, nearest point 6");
}

TEST(Explain, RawNumbersShowTheirBits) {
  const Explanation e = explain("bf16", {3.14159f});
  EXPECT_EQ(e.numbers[0].how, "bits 0x4049");
  EXPECT_EQ(e.numbers[0].decoded, 3.140625f);
  EXPECT_TRUE(e.steps.empty());
}

TEST(Explain, RefusalsSayWhatIsWrong) {
  EXPECT_EQ(refusal("int8:row", {NAN}), "no format stores NaN or infinity; leave it out of the numbers");
  EXPECT_EQ(refusal("int8:row", {1}, std::pair{3.0f, -3.0f}),
            "a range is its lower end, then its upper end, as in -2.5,3: 3,-3");
  EXPECT_EQ(refusal("q4_0", std::vector<float>(33, 1.0f)), "32 numbers share a grid in q4_0; give at most 32: 33");
  EXPECT_EQ(refusal("q4_0", std::vector<float>(31, 1.0f), std::pair{0.0f, 1.0f}),
            "32 numbers share a grid in q4_0; give at most 30: 31");
}

TEST(Explain, TilesHaveNoSingleNumbers) {
  EXPECT_EQ(
      refusal("trellis2", {1}),
      "trellis2:l8 codes 64 rows and 4 columns together, so that no number has a code of its own; 'nibble explain "
      "trellis' says how it works");
}

std::vector<FormatPtr> formats_of_numbers() {
  std::vector<FormatPtr> formats = list_formats();
  std::erase_if(formats, [](const FormatPtr& format) { return find_row_tiles(*format) != nullptr; });
  return formats;
}

class ExplainEveryFormat : public testing::TestWithParam<FormatPtr> {};

// What is shown is what a file would hold: the decoded values are those of encoding the row.
TEST_P(ExplainEveryFormat, ShowsWhatIsStored) {
  const FormatPtr format = GetParam();
  for (const FitRule rule : {FitRule::automatic, FitRule::absmax}) {
    const Explanation e =
        explain_format({.format = format, .fit = {.rule = rule}, .numbers = {0.75f, -0.5f, 0.1f, 0.0f}});
    ASSERT_EQ(e.numbers.size(), 4u);
    for (const ExplainedNumber& number : e.numbers) {
      EXPECT_TRUE(std::isfinite(number.decoded));
      EXPECT_NEAR(number.error, static_cast<double>(number.decoded) - static_cast<double>(number.given), 1e-12);
      EXPECT_GE(number.code - format->info().first_code, 0);
      EXPECT_LT(static_cast<std::uint64_t>(number.code - format->info().first_code), format->num_codes());
      EXPECT_FALSE(number.how.empty());
    }
    if (format->info().kind != FormatKind::raw) {
      EXPECT_FALSE(e.steps.empty());
      EXPECT_FALSE(e.rule.empty());
    }
    for (const ExplainedNumber& number : e.numbers) {
      EXPECT_TRUE(e.points.empty() || std::ranges::find(e.points, number.decoded) != e.points.end()) << number.decoded;
    }
  }
}

// A few numbers of -1 .. 1 are taken.
TEST_P(ExplainEveryFormat, WorksWithoutNumbers) {
  const Explanation e = explain_format({.format = GetParam()});
  EXPECT_EQ(e.numbers.size(), 6u);
  EXPECT_EQ(e.low, -1.0f);
  EXPECT_EQ(e.high, 1.0f);
}

INSTANTIATE_TEST_SUITE_P(Formats, ExplainEveryFormat, testing::ValuesIn(formats_of_numbers()),
                         [](const auto& instance) {
                           std::string name = instance.param->name();
                           std::replace(name.begin(), name.end(), ':', '_');
                           return name;
                         });

}  // namespace
}  // namespace nibble
