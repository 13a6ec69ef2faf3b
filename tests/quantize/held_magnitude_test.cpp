// SPDX-License-Identifier: Apache-2.0
//
// No format may lose weights silently for being too large or too small for its scales.
#include "quantize/held_magnitude.h"

#include <gtest/gtest.h>

#include <cmath>

#include "format/encode_tensor.h"
#include "quantize/model_free_matrix.h"

namespace nibble {
namespace {

constexpr std::uint64_t kRows = 24, kCols = 256;

// Normal numbers of this deviation.
QuantizedTensor matrix_of(double deviation) {
  QuantizedTensor tensor = random_matrix(kRows, kCols, 5);
  for (std::uint64_t i = 0; i < kRows * kCols; ++i) {
    float value;
    std::memcpy(&value, tensor.planes[0].data() + i * sizeof value, sizeof value);
    value = static_cast<float>(static_cast<double>(value) / 0.05 * deviation);
    std::memcpy(tensor.planes[0].data() + i * sizeof value, &value, sizeof value);
  }
  return tensor;
}

// What encoding in the format takes, as a share of the matrix, in the plainest way.
double error_of(const FormatPtr& format, const QuantizedTensor& matrix) {
  const std::vector<float> values = matrix.view().decode();
  const QuantizedTensor coded = encode_tensor(format, values, kRows);
  const std::vector<float> decoded = make_view(format, kRows, kCols, coded.view().planes, "m").decode();
  double power = 0, lost = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto x = static_cast<double>(values[i]);
    power += x * x;
    lost += (x - static_cast<double>(decoded[i])) * (x - static_cast<double>(decoded[i]));
  }
  return std::sqrt(lost / power);
}

FormatPtr held(const FormatPtr& wanted, const QuantizedTensor& matrix) {
  const QuantizedView view = matrix.view();
  const std::optional<WeightPeak> peak =
      needs_peak(*view.format, *wanted) ? std::optional(peak_of(view)) : std::nullopt;
  return held_format(wanted, MagnitudeSample(view, peak, Isa::scalar), {}, kCols);
}

// The formats that are asked for, and those whose scales are spelled in another way than the usual ones.
std::vector<FormatPtr> formats() {
  std::vector<FormatPtr> all = list_formats();
  for (const char* name : {"int4:g32:f32", "int4:g32:bf16", "int4:g32:e8m0", "int4:g32:s6", "int4:g32:s8",
                           "int8:row:f16", "int8:tensor", "int4:g32:asym:f16", "ternary:g64", "ternary:row",
                           "binary:g64", "binary:row", "nf4:g64:dq", "fp8:row", "table4:row"})
    all.push_back(find_format(name));
  return all;
}

TEST(HeldMagnitude, WhatIsStoredLosesNoMoreThanItsFormatDoesAtAnyMagnitude) {
  const QuantizedTensor usual = matrix_of(1);
  for (const double deviation : {1e37, 1e20, 1e8, 1e6, 1e4, 2e-2, 5e-3, 2e-3, 1e-3, 1e-5, 1e-6, 1e-8, 1e-20, 1e-36}) {
    const QuantizedTensor matrix = matrix_of(deviation);
    for (const FormatPtr& wanted : formats()) {
      if (wanted->name() == "f16" && deviation > 1e4) continue;  // which is refused by the weight's position
      const FormatPtr stored = held(wanted, matrix);
      EXPECT_LE(error_of(stored, matrix), 1.6 * error_of(stored, usual) + 0.02)
          << wanted->name() << " as " << stored->name() << " at " << deviation;
    }
  }
}

TEST(HeldMagnitude, UsualWeightsKeepTheirFormat) {
  for (const double deviation : {1.0, 0.05, 0.01})
    for (const FormatPtr& wanted : formats()) {
      if (wanted->name() == "nvfp4" && deviation < 1) continue;  // whose scales reach down to 2^-9 only
      EXPECT_EQ(held(wanted, matrix_of(deviation))->name(), wanted->name()) << deviation;
    }
}

TEST(HeldMagnitude, SubstitutesAreAsSmallAsCanBe) {
  EXPECT_EQ(held(find_format("int4:g32"), matrix_of(1e7))->name(), "int4:g32:f32");
  EXPECT_EQ(held(find_format("nf4:g64"), matrix_of(1e7))->name(), "nf4:g64:f32");
  EXPECT_EQ(held(find_format("q8_0"), matrix_of(1e-6))->name(), "bf16");
  EXPECT_EQ(held(find_format("q8_0"), matrix_of(1e-39))->name(), "f32");
  EXPECT_EQ(held(find_format("nvfp4"), matrix_of(2e-3))->name(),
            "q4_0");  // whose files have no room for a scale of the whole tensor
}

TEST(HeldMagnitude, OneEnormousWeightIsSeenWhereverItLies) {
  for (const std::uint64_t at : {std::uint64_t{0}, 13 * kCols + 255, kRows * kCols - 1}) {
    QuantizedTensor matrix = matrix_of(0.05);
    const float enormous = -1e6F;
    std::memcpy(matrix.planes[0].data() + at * sizeof(float), &enormous, sizeof enormous);
    EXPECT_EQ(held(find_format("q4_0"), matrix)->name(), "bf16") << at;
    EXPECT_EQ(held(find_format("q8_0"), matrix)->name(), "q8_0") << at;
  }
}

TEST(HeldMagnitude, AllIsLookedAtOnlyWhereATypeReachesFurtherThanTheFormat) {
  const auto needs = [](const char* source, const char* target) {
    return needs_peak(*find_format(source), *find_format(target));
  };
  EXPECT_TRUE(needs("f32", "q8_0"));
  EXPECT_TRUE(needs("bf16", "q4_k"));
  EXPECT_TRUE(needs("f32", "f16"));
  EXPECT_TRUE(needs("f16", "nvfp4"));
  EXPECT_FALSE(needs("f16", "q8_0"));
  EXPECT_FALSE(needs("f32", "bf16"));  // whose largest number is less than a rounding away
  EXPECT_FALSE(needs("f16", "bf16"));
  EXPECT_FALSE(needs("f32", "int4:g32:f32"));
}

TEST(HeldMagnitude, RowsThatStandForNothingDecideNothing) {
  QuantizedTensor matrix = matrix_of(0.05);
  for (std::uint64_t i = 0; i < 3 * kCols; ++i) {  // an eighth
    float value;
    std::memcpy(&value, matrix.planes[0].data() + i * sizeof value, sizeof value);
    value *= 1e-9F;
    std::memcpy(matrix.planes[0].data() + i * sizeof value, &value, sizeof value);
  }
  EXPECT_EQ(held(find_format("q8_0"), matrix)->name(), "q8_0");
  EXPECT_EQ(held(find_format("q4_k"), random_matrix(1, kCols, 3))->name(), "q4_k");
  EXPECT_EQ(held(find_format("q8_0"), QuantizedTensor(find_format("f32"), kRows, kCols))->name(), "q8_0");
}

}  // namespace
}  // namespace nibble
