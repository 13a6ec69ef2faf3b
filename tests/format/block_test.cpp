// SPDX-License-Identifier: Apache-2.0
//
// Small blocks by hand: layouts, rules and defects that the golden bytes do not show one by one.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "base/half.h"
#include "base/random.h"
#include "format/encode_tensor.h"
#include "format/quantized_tensor.h"
#include "nibble/error.h"

namespace nibble {
namespace {

QuantizedTensor encode(std::string_view name, const std::vector<float>& x, FitRule rule = FitRule::absmax) {
  QuantizedTensor tensor(find_format(name), 1, x.size());
  tensor.format->encode_row(x, {}, nullptr, 0, FitOptions{.rule = rule}, tensor.row(0));
  return tensor;
}

std::optional<std::string> defect(const QuantizedTensor& tensor) {
  return tensor.format->find_defect(tensor.view().row(0), tensor.cols);
}

struct Defect {
  const char* format;
  std::size_t block_bytes;
  std::size_t at;                   // byte within the second block
  std::vector<std::uint8_t> bytes;  // what is written there
  const char* message;
};

class BlockDefects : public testing::TestWithParam<Defect> {};

TEST_P(BlockDefects, AreNamedWithTheirColumn) {
  const Defect& wrong = GetParam();
  const FormatPtr format = find_format(wrong.format);
  std::vector<float> x(2 * format->info().row_multiple);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i));
  QuantizedTensor tensor = encode(wrong.format, x);
  ASSERT_EQ(tensor.planes[0].size(), 2 * wrong.block_bytes);
  EXPECT_EQ(defect(tensor), std::nullopt);
  std::memcpy(&tensor.planes[0][wrong.block_bytes + wrong.at], wrong.bytes.data(), wrong.bytes.size());
  EXPECT_EQ(defect(tensor), std::string(wrong.message) + " at column " + std::to_string(format->info().row_multiple));
}

INSTANTIATE_TEST_SUITE_P(Formats, BlockDefects,
                         testing::Values(Defect{"q8_0", 34, 0, {0x00, 0x7e}, "the scale is not finite"},
                                         Defect{"q4_0", 18, 0, {0x00, 0xfc}, "the scale is not finite"},
                                         Defect{"q5_0", 22, 0, {0x01, 0x7c}, "the scale is not finite"},
                                         Defect{"q4_1", 20, 0, {0x00, 0x7c}, "the scale is not finite"},
                                         Defect{"q4_1", 20, 2, {0x00, 0x7c}, "the offset is not finite"},
                                         Defect{"q5_1", 24, 2, {0xff, 0xff}, "the offset is not finite"},
                                         Defect{"iq4_nl", 18, 0, {0x00, 0x7c}, "the scale is not finite"},
                                         Defect{"mxfp4", 17, 0, {0xff}, "the scale's exponent is reserved (NaN)"},
                                         Defect{"nvfp4", 36, 2, {0x7f}, "a scale is reserved (NaN)"},
                                         Defect{"nvfp4", 36, 3, {0x81}, "a scale is negative"},
                                         Defect{"q1_0", 18, 0, {0x00, 0x7c}, "the scale is not finite"},
                                         Defect{"q2_0", 18, 0, {0x00, 0x7c}, "the scale is not finite"},
                                         Defect{"tq1_0", 54, 52, {0x00, 0x7c}, "the scale is not finite"},
                                         Defect{"tq2_0", 66, 64, {0x00, 0x7c}, "the scale is not finite"},
                                         Defect{"tq2_0", 66, 5, {0x0c}, "a code is reserved (3)"}),
                         [](const auto& named) {
                           return std::string(named.param.format) + "_" + std::to_string(named.index);
                         });

TEST(RawFormats, ElementsThatAreNotFiniteAreDefects) {
  QuantizedTensor tensor(find_format("f16"), 1, 3);
  tensor.planes[0][3] = std::byte{0x7c};
  EXPECT_EQ(defect(tensor), "the element is not finite at column 1");
}

TEST(RawFormats, HugeValuesSaturateInHalfPrecision) {
  const QuantizedTensor tensor = encode("f16", {1e6f, -1e6f, 65519.0f, 1.0f});
  EXPECT_EQ(tensor.view().decode(), (std::vector<float>{65504, -65504, 65504, 1}));
  EXPECT_EQ(find_format("f16")->info().max_magnitude, 65504);
}

TEST(Q4_0, ThePeakHasTheCodeOfTheFarEnd) {
  std::vector<float> x(32, 0.0f);
  x[3] = 4.0f;  // d = -0.5, code 0
  x[20] = -3.5f;
  const QuantizedTensor tensor = encode("q4_0", x);
  std::uint16_t d;
  std::memcpy(&d, tensor.planes[0].data(), 2);
  EXPECT_EQ(f16_to_f32(d), -0.5f);
  EXPECT_EQ(tensor.planes[0][2 + 3], std::byte{0x80});  // element 3 low: 0; element 19 high: 8
  EXPECT_EQ(tensor.planes[0][2 + 4], std::byte{0xf8});  // element 20 high: 15
  EXPECT_EQ(tensor.view().decode()[20], -3.5f);
}

TEST(Q8_0, HalvesRoundAwayFromZero) {
  std::vector<float> x(32, 0.0f);
  x[0] = 127.0f;
  x[1] = 0.5f;
  x[2] = -0.5f;
  x[3] = 2.5f;
  x[4] = 0.49999997f;
  const auto y = encode("q8_0", x).view().decode();
  EXPECT_EQ(y[1], 1.0f);
  EXPECT_EQ(y[2], -1.0f);
  EXPECT_EQ(y[3], 3.0f);
  EXPECT_EQ(y[4], 0.0f);
}

TEST(Blocks, ScalesSaturateInsteadOfOverflowing) {
  std::vector<float> x(32, 1e9f);
  const QuantizedTensor tensor = encode("q8_0", x);
  EXPECT_EQ(defect(tensor), std::nullopt);
  EXPECT_EQ(tensor.view().decode()[0], 127 * 65504.0f);
  EXPECT_EQ(find_format("q8_0")->info().max_magnitude, 127 * 65504.0);
}

// Of every row by itself, whatever its size, and with one number that is far larger than the rest: scales with which 4
// is a peak's point in place of 6, and exponents on both sides of the plain one, are among what is tried.
TEST(Fp4, SearchLosesNoMoreThanThePlainScaleInAnyRow) {
  constexpr std::size_t kRows = 64, kCols = 256;
  Random random(31);
  for (const char* const name : {"nvfp4", "mxfp4", "e2m1:g32:e8m0", "e2m1:g16"})
    for (const double deviation : {1e-3, 0.02, 1.0, 30.0})
      for (const bool has_peaks : {false, true}) {
        std::vector<float> x;
        for (std::size_t i = 0; i < kRows * kCols; ++i)
          x.push_back(static_cast<float>(deviation * random.normal() * (has_peaks && i % 64 == 9 ? 8 : 1)));
        const std::vector<float> plain = encode_tensor(find_format(name), x, kRows, FitRule::absmax).view().decode(),
                                 searched = encode_tensor(find_format(name), x, kRows).view().decode();
        double all_plain = 0, all_searched = 0;
        for (std::size_t row = 0; row < kRows; ++row) {
          double of_plain = 0, of_searched = 0;
          for (std::size_t i = row * kCols; i < (row + 1) * kCols; ++i) {
            of_plain += std::pow(static_cast<double>(plain[i] - x[i]), 2);
            of_searched += std::pow(static_cast<double>(searched[i] - x[i]), 2);
          }
          EXPECT_LE(of_searched, of_plain * (1 + 1e-6)) << name << ", " << deviation << ", row " << row;
          all_plain += of_plain;
          all_searched += of_searched;
        }
        EXPECT_LT(all_searched, 0.99 * all_plain) << name << ", " << deviation;
      }
}

TEST(Blocks, PercentileClipsTheSpanBeforePlainRounding) {
  std::vector<float> x(32, 0.5f);
  x[9] = 100.0f;
  QuantizedTensor tensor(find_format("q4_0"), 1, 32);
  tensor.format->encode_row(x, {}, nullptr, 0, {.rule = FitRule::percentile, .percentile = 90}, tensor.row(0));
  for (const float value : tensor.view().decode()) EXPECT_EQ(value, 0.5f);
}

TEST(Views, SayWhichPlaneHasTheWrongSize) {
  const std::vector<std::byte> bytes(17);
  try {
    make_view(find_format("q4_0"), 1, 32, {bytes}, "blk.0.attn_q.weight");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::corrupt);
    EXPECT_STREQ(error.what(), "blk.0.attn_q.weight: a [1, 32] tensor in q4_0 takes 18 bytes, found 17");
  }
  try {
    make_view(find_format("int4:g32"), 1, 32, {std::span(bytes).first(16), std::span(bytes).first(3)}, "q_proj");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "q_proj.scales: a [1, 32] tensor in int4:g32 takes 2 bytes, found 3");
  }
}

TEST(FirstNotFinite, FindsTheFirstOne) {
  std::vector<float> x(10000, 1.0f);
  EXPECT_EQ(first_not_finite(x), std::nullopt);
  x[9999] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(first_not_finite(x), 9999u);
  x[4100] = std::numeric_limits<float>::quiet_NaN();
  x[4101] = -std::numeric_limits<float>::infinity();
  EXPECT_EQ(first_not_finite(x), 4100u);
  EXPECT_EQ(first_not_finite(std::vector<float>{std::numeric_limits<float>::max(), -std::numeric_limits<float>::max()}),
            std::nullopt);
}

}  // namespace
}  // namespace nibble
