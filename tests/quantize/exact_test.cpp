// SPDX-License-Identifier: Apache-2.0
//
// Codes and scales found again from numbers alone. The judge is the format that the numbers come from.
#include "quantize/round/exact.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

#include "base/random.h"
#include "format/common_step.h"
#include "format/scale.h"
#include "nibble/error.h"
#include "quantize/method.h"

namespace nibble {
namespace {

float half(float scale) { return f16_to_f32(to_f16_saturated(scale)); }

// Random numbers as a format stores them.
std::vector<float> numbers_of(const std::string& format, std::size_t columns, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> x(columns), back(columns);
  for (float& value : x) value = static_cast<float>(0.05 * random.normal());
  const FormatPtr stored = find_format(format);
  QuantizedTensor tensor(stored, 1, columns);
  stored->encode_row(x, {}, nullptr, 0, {}, tensor.row(0));
  tensor.view().decode_row(0, back);
  return back;
}

bool holds(const std::string& format, const std::vector<float>& x) {
  const FormatPtr target = find_format(format);
  QuantizedTensor tensor(target, 1, x.size());
  std::vector<float> back(x.size());
  return encode_exactly(*target, x, 0, tensor.row(0), back);
}

struct Case {
  const char *from, *to;
  bool is_exact;
};

class ExactPlaces : public testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(
    Formats, ExactPlaces,
    testing::Values(Case{"int4:g128", "q4_0", true}, Case{"int4:g32", "q4_0", true}, Case{"int3:g64", "q4_0", true},
                    Case{"int2:g32:asym", "q4_0", true}, Case{"int4:g32:asym", "q5_0", true},
                    Case{"int4:g32:asym", "q4_0", false}, Case{"int5:g32", "q5_0", true},
                    Case{"int8:g32", "q8_0", true}, Case{"int6:g64", "q8_0", true}, Case{"q4_0", "int5:g32", true},
                    Case{"q5_0", "int6:g32", true}, Case{"q8_0", "int8:g32", true}, Case{"q4_0", "q8_0", true},
                    Case{"q8_0", "q4_0", false}, Case{"q4_k", "q8_0", false}, Case{"q4_0", "f32", true},
                    Case{"q4_k", "f32", true}, Case{"q8_0", "bf16", false}, Case{"bf16", "f32", true},
                    Case{"f16", "bf16", false}, Case{"int4:g32:bias", "q4_1", true},
                    Case{"int4:g64:bias", "q4_1", true}, Case{"int4:g64:bias:bf16", "q4_1", true},
                    Case{"int4:g128:bias", "q4_1", true}, Case{"int2:g32:bias", "q4_1", true},
                    Case{"int3:g64:bias", "q4_1", true}, Case{"int5:g32:bias", "q5_1", true},
                    Case{"int5:g64:bias:bf16", "q5_1", true}, Case{"int5:g32:bias", "q4_1", false},
                    Case{"int4:g32:bias", "q5_0", false}, Case{"int4:g32:bias:f32", "q4_1", false},
                    Case{"int4:g48:bias", "q4_1", false}, Case{"int8:g32:bias", "q5_1", false},
                    Case{"q4_1", "q4_1", true}, Case{"q5_1", "q5_1", true}, Case{"q4_1", "q5_1", true},
                    Case{"q4_0", "q4_1", true}, Case{"q4_k", "q4_1", false}, Case{"q2_k", "q4_1", false}),
    [](const auto& p) {
      std::string name = std::string(p.param.from) + "_" + p.param.to;
      for (char& c : name)
        if (c == ':') c = '_';
      return name;
    });

TEST_P(ExactPlaces, AreFoundWhereThereAre) {
  const auto& [from, to, is_exact] = GetParam();
  for (std::uint64_t seed = 1; seed <= 20; ++seed) EXPECT_EQ(holds(to, numbers_of(from, 256, seed)), is_exact) << seed;
}

TEST(CommonStep, IsFoundFromNumbersAlone) {
  const float d = half(0.0123f);
  EXPECT_EQ(find_common_step(std::vector<float>{0, d, -3 * d, 7 * d}, -8, 7, half), d);
  EXPECT_EQ(find_common_step(std::vector<float>{3 * d, -5 * d, 7 * d}, -8, 7, half), d);  // no number is one step
  EXPECT_EQ(find_common_step(std::vector<float>{8 * d, -d}, -8, 7, half), -d);            // the longer side is negative
  EXPECT_EQ(find_common_step(std::vector<float>{8 * d, -8 * d, d}, -8, 7, half), 0);
  EXPECT_EQ(find_common_step(std::vector<float>{0, 0}, -8, 7, half), 0);
  EXPECT_EQ(find_common_step(std::vector<float>{0.1f, 0.2f}, -8, 7, half), 0);  // no half is a tenth
  const float least = 0x1p-24f;
  EXPECT_EQ(find_common_step(std::vector<float>{least, -2 * least}, -8, 7, half), least);
  EXPECT_EQ(find_common_step(std::vector<float>{INFINITY, 1}, -8, 7, half), 0);
}

TEST(CommonSteps, AreFoundFromNumbersAlone) {
  const float d = half(0.0123f), m = half(-0.0871f);
  const auto grid = [&](float size, float offset, std::initializer_list<int> codes) {
    std::vector<float> x;
    for (const int code : codes) x.push_back(static_cast<float>(code) * size + offset);
    return x;
  };
  const auto find = [&](const std::vector<float>& x, int high) -> std::vector<float> {
    const auto steps = find_common_steps(x, high, half);
    if (!steps) return {};
    // What is found makes the numbers.
    for (const float value : x) {
      bool is_made = false;
      for (int k = 0; k <= high; ++k) is_made |= static_cast<float>(k) * steps->size + steps->offset == value;
      EXPECT_TRUE(is_made) << value;
    }
    return {steps->size, steps->offset};
  };
  using Pair = std::vector<float>;
  EXPECT_EQ(find(grid(d, m, {0, 15, 4}), 15), (Pair{d, m}));
  EXPECT_EQ(find(grid(d, m, {0, 31, 4}), 31), (Pair{d, m}));
  EXPECT_EQ(find(grid(d, m, {0, 16, 1}), 15), (Pair{}));
  EXPECT_FALSE(find(grid(d, m, {2, 13, 3, 4}), 15).empty());  // neither end is the offset
  EXPECT_FALSE(find(grid(-d, -m, {0, 15, 3}), 15).empty());   // a negative step from the upper end
  EXPECT_FALSE(find(grid(-d, -m, {1, 14, 3, 4}), 15).empty());
  EXPECT_FALSE(find(grid(half(0.0003f), half(8.71f), {0, 14, 3}), 15).empty());  // sums are rounded
  EXPECT_FALSE(find(grid(0x1p-24f, 0x1p-24f, {0, 14, 3}), 15).empty());
  EXPECT_FALSE(find(grid(d, 0, {4, 5}), 15).empty());
  EXPECT_EQ(find(grid(d, m, {7, 7}), 15).size(), 2u);  // one number
  EXPECT_EQ(find({m, m}, 15), (Pair{0, m}));
  EXPECT_EQ(find({0, 0}, 15), (Pair{0, 0}));
  EXPECT_EQ(find({0.1f, 0.2f, 0.35f}, 15), (Pair{}));  // no halves
  EXPECT_EQ(find({0.1f, 0.1f}, 15), (Pair{}));
  EXPECT_EQ(find({INFINITY, 1}, 15), (Pair{}));
}

TEST(ExactRounder, NamesTheRowThatItCannotHold) {
  const Method method = find_method(kExactMethod);
  const FormatPtr target = find_format("q4_0");
  QuantizedTensor tensor(target, 1, 32);
  const std::vector<float> x(32, 0.1f);
  try {
    method.rounder->encode(*target, {.values = x, .importance = {}, .row = 7}, tensor.row(0));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    EXPECT_NE(std::string(error.what()).find("q4_0 cannot hold exactly: row 7"), std::string::npos) << error.what();
  }
}

// Rows that have codes only beside others are held nowhere by themselves, and no reason to stop.
TEST(ExactRounder, TilesHoldNoRowAlone) {
  const FormatPtr format = find_format("trellis2:l8");
  QuantizedTensor made(format, 1, 8);
  std::vector<float> back(8, 1.0F);
  EXPECT_FALSE(encode_exactly(*format, std::vector<float>(8, 0.0F), 0, made.row(0), back));
  EXPECT_EQ(back, std::vector<float>(8, 0.0F));
}

}  // namespace
}  // namespace nibble
