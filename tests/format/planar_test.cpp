// SPDX-License-Identifier: Apache-2.0
#include "format/planar/format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "base/random.h"
#include "format/planar/points.h"
#include "format/planar_encoding.h"
#include "format/quantized_tensor.h"
#include "nibble/error.h"

namespace nibble {
namespace {

std::string name_of(std::string_view spelling) { return find_format(spelling)->name(); }

std::string refusal_of(std::string_view spelling) {
  try {
    find_format(spelling);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    return error.what();
  }
  return "accepted";
}

TEST(PlanarSpelling, CanonicalNames) {
  EXPECT_EQ(name_of("int4"), "int4:g128");
  EXPECT_EQ(name_of("INT4:G32:ASYM"), "int4:g32:asym");
  EXPECT_EQ(name_of("int4:asym:g32"), "int4:g32:asym");
  EXPECT_EQ(name_of("int4:g128:f16"), "int4:g128");
  EXPECT_EQ(name_of("int4:g128:f32"), "int4:g128:f32");
  EXPECT_EQ(name_of("int8"), "int8:row");
  EXPECT_EQ(name_of("int8:row:f32:sym"), "int8:row");
  EXPECT_EQ(name_of("int8:tensor:asym"), "int8:tensor:asym");
  EXPECT_EQ(name_of("nf4"), "nf4:g64");
  EXPECT_EQ(name_of("nf4:s8"), "nf4:g64:s8");
  EXPECT_EQ(name_of("mxfp8"), "fp8:g32:e8m0");
  EXPECT_EQ(name_of("mxfp6_e3m2"), "fp6_e3m2:g32:e8m0");
  EXPECT_EQ(name_of("fp8_e4m3:row"), "fp8:row");
  EXPECT_EQ(name_of("table4"), "table4:row");
  EXPECT_EQ(name_of("int2:half:g64"), "int2:g64:half");
  EXPECT_EQ(name_of("uint3:half"), "int3:g128:half");
  EXPECT_EQ(name_of("int3:signed"), "int3:g128:signed");
  EXPECT_EQ(name_of("mxfp4"), "mxfp4");  // the block format keeps its name
}

TEST(PlanarSpelling, PrintedSpecsParseToThemselves) {
  int count = 0;
  for (int points = 0; points <= static_cast<int>(PlanarPoints::table); ++points)
    for (unsigned bits = 1; bits <= 8; ++bits)
      for (const bool is_unsigned : {false, true})
        for (const int zero : {0, 1, 2})    // none, a zero point, a bias
          for (const int sign : {0, 1, 2})  // none, high, signed
            for (const PlanarGrain grain :
                 {PlanarGrain::group, PlanarGrain::row, PlanarGrain::tensor, PlanarGrain::block})
              for (int scale = 0; scale <= static_cast<int>(ScaleType::amax); ++scale) {
                const PlanarSpec spec{static_cast<PlanarPoints>(points),
                                      bits,
                                      is_unsigned,
                                      zero == 1,
                                      sign == 1,
                                      grain,
                                      grain == PlanarGrain::group || grain == PlanarGrain::block ? 48u : 0u,
                                      static_cast<ScaleType>(scale),
                                      zero == 2,
                                      grain == PlanarGrain::block ? 16u : 0u,
                                      sign == 2};
                std::optional<PlanarSpec> parsed;
                try {
                  parsed = parse_planar(planar_name(spec));
                } catch (const Error&) {
                  continue;  // a combination that makes no sense
                }
                if (!parsed || parsed->bits != bits || parsed->is_unsigned != is_unsigned)
                  continue;  // bits that these points do not have
                EXPECT_EQ(*parsed, spec) << planar_name(spec);
                ++count;
              }
  EXPECT_GT(count, 500);
}

TEST(PlanarSpelling, RefusalsSayWhy) {
  EXPECT_EQ(refusal_of("int1:g32"),
            "format int1:g32: one bit is an integer only with a zero point or a bias (add :asym or :bias); {-1, 1} is "
            "called binary");
  EXPECT_EQ(refusal_of("nf4:asym"), "format nf4:asym: only integers have zero points; leave out asym");
  EXPECT_EQ(refusal_of("nf4:bias"), "format nf4:bias: only integers have a bias; leave out bias");
  EXPECT_EQ(refusal_of("int4:asym:bias"),
            "format int4:asym:bias: a bias takes the place of zero points; leave out asym or bias");
  EXPECT_EQ(refusal_of("int4:bias:s6"), "format int4:bias:s6: a bias needs a type with a sign: f32, f16 or bf16");
  EXPECT_EQ(refusal_of("int2:bias:high"), "format int2:bias:high: high is a form of symmetric int2");
  EXPECT_EQ(refusal_of("int4:g0"), "format int4:g0: a group has 1 to 1048576 columns: g0");
  EXPECT_EQ(refusal_of("int4:g99999999999"),
            "format int4:g99999999999: a group has 1 to 1048576 columns: g99999999999");
  EXPECT_EQ(refusal_of("int4:g32:row"), "format int4:g32:row: the grain is given twice");
  EXPECT_EQ(refusal_of("int4:"),
            "format int4:: unknown option; options are g<N>, row, tensor, block<R>x<N>, asym, bias, half, signed, f32, "
            "f16, bf16, e8m0, s6, "
            "s8, dq, amax: ''");
  for (const char* block :
       {"block", "blockx2", "block8", "block8x", "block1x8", "block8192x8", "block8x8y", "block8x0"})
    EXPECT_EQ(refusal_of(std::string("int8:") + block),
              std::string("format int8:") + block +
                  ": a block has 2 to 4096 rows and 1 to 1048576 columns, as in block128x128: " + block);
  EXPECT_EQ(refusal_of("int8:block8x8:s8"), "format int8:block8x8:s8: two-level scales need groups, for example g64");
  EXPECT_EQ(refusal_of("table4:block8x8"), "format table4:block8x8: a table belongs to a row or a group");
  EXPECT_EQ(refusal_of("int3:high"), "format int3:high: high is a form of symmetric int2");
  for (const char* name :
       {"int5:half", "int1:half", "nf4:half", "int3:half:asym", "int3:half:bias", "int2:half:signed"})
    EXPECT_EQ(refusal_of(name), std::string("format ") + name +
                                    ": half is a form of int2, int3 and int4 that leaves no choice of zero or sign");
  for (const char* name : {"int8:signed", "int4:asym:signed", "int4:bias:signed", "nf4:signed", "int2:high:signed"})
    EXPECT_EQ(refusal_of(name),
              std::string("format ") + name + ": signed is a form of symmetric integers of 2 to 7 bits");
  EXPECT_EQ(refusal_of("int4:signed:s8"), "format int4:signed:s8: signed needs scales with a sign: f32, f16 or bf16");
  EXPECT_EQ(refusal_of("int2:half:e8m0"),
            "format int2:half:e8m0: e8m0 has no zero, which all-zero groups of points without one need");
  EXPECT_EQ(refusal_of("int4:row:s8"), "format int4:row:s8: two-level scales need groups, for example g64");
  for (const char* const other : {"int8:g32", "int8:tensor", "int4:row", "int8:row:asym", "uint8:row", "fp8:row"})
    EXPECT_NE(refusal_of(std::string(other) + ":amax").find("(amax) belong to int8:row"), std::string::npos) << other;
  EXPECT_EQ(refusal_of("table4:tensor"), "format table4:tensor: a table belongs to a row or a group");
  EXPECT_NE(refusal_of("int9:g32").find("no format has this name"), std::string::npos);
}

// What LLM.int8 stores for a row is its largest magnitude; what decodes it multiplies by 1/127 in f32.
TEST(PlanarInteger, MagnitudesOfRowsAreStoredAsTheyAre) {
  std::mt19937 random(3);
  for (int i = 0; i < 1000; ++i) {
    const float largest = std::ldexp(1 + static_cast<float>(random() % (1u << 23)) * 0x1p-23f, i % 40 - 20);
    const auto [tensor, y] = encode("int8:row:amax", {largest, -0.5f * largest, 0.0f, 0.25f * largest});
    float stored;
    std::memcpy(&stored, tensor.planes[1].data(), sizeof stored);
    EXPECT_LE(std::fabs(stored - largest), 0x1p-23f * largest);
    EXPECT_EQ(y[0], 127.0f * (stored * 7.874015718698502e-3f));
    EXPECT_EQ(y[2], 0.0f);
  }
}

TEST(PlanarInteger, SymmetricByteUsesAmaxOver127) {
  const auto [tensor, y] = encode("int8:row", {-2.5f, 1.0f, 0.0f, 2.54f});
  const float scale = 2.54f / 127.0f;
  EXPECT_EQ(as_float(tensor.planes[1]), scale);
  EXPECT_EQ(std::to_integer<int>(tensor.planes[0][0]), 128 - 125);
  EXPECT_EQ(std::to_integer<int>(tensor.planes[0][2]), 128);
  EXPECT_EQ(std::to_integer<int>(tensor.planes[0][3]), 255);
  EXPECT_EQ(y[2], 0.0f);
  EXPECT_EQ(y[3], 127 * scale);
}

TEST(PlanarInteger, NarrowSymmetricUsesTheWholeRange) {
  // amax / (2^(b-1) - 1/2): -7.5 rounds to the even -8, 7.5 to 8 and is cut to 7.
  const auto [tensor, y] = encode("int4:row", {-7.5f, 7.5f, 1.0f, -0.4f});
  EXPECT_EQ(as_float(tensor.planes[1]), 1.0f);
  EXPECT_EQ(y, (std::vector<float>{-8, 7, 1, 0}));
  EXPECT_EQ(tensor.planes[0][0], std::byte{0xf0});  // low half first: -8 -> 0, 7 -> 15
  EXPECT_EQ(tensor.planes[0][1], std::byte{0x89});
}

TEST(PlanarInteger, AsymmetricZeroIsExact) {
  // The range [-2.5, 3] in 255 steps; zero point round(2.5 / scale) = 116.
  const auto [tensor, y] = encode("uint8:tensor:asym", {3.0f, 0.0f, -2.5f});
  EXPECT_EQ(as_float(tensor.planes[1]), 3.0f / 255 + 2.5f / 255);
  EXPECT_EQ(std::to_integer<int>(tensor.planes[2][0]), 116);
  EXPECT_EQ(std::to_integer<int>(tensor.planes[0][0]), 255);
  EXPECT_EQ(std::to_integer<int>(tensor.planes[0][1]), 116);
  EXPECT_EQ(std::to_integer<int>(tensor.planes[0][2]), 0);
  EXPECT_EQ(y[1], 0.0f);
  // Signed and unsigned spellings store the same bytes and number them differently.
  EXPECT_EQ(encode("int8:tensor:asym", {3.0f, 0.0f, -2.5f}).tensor.planes, tensor.planes);
  const auto first = [](std::string_view name) {
    return dynamic_cast<const PlanarFormat&>(*find_format(name)).first_integer();
  };
  EXPECT_EQ(first("int8:tensor:asym"), -128);
  EXPECT_EQ(first("uint8:tensor:asym"), 0);
}

TEST(PlanarInteger, RangeAlwaysIncludesZero) {
  const auto [tensor, y] = encode("int4:row:asym", {15.0f, 12.0f, 14.0f, 0.0f});
  EXPECT_EQ(as_float(tensor.planes[1]), 1.0f);
  EXPECT_EQ(y, (std::vector<float>{15, 12, 14, 0}));
  const auto negative = encode("int4:row:asym", {-15.0f, -12.0f, -14.0f, -11.0f});
  EXPECT_EQ(negative.decoded, (std::vector<float>{-15, -12, -14, -11}));
}

TEST(PlanarInteger, BiasesPutTheRangeWhereTheNumbersAre) {
  const auto [tensor, y] = encode("int4:g4:bias:f32", {15.0f, 12.0f, 14.5f, 13.0f, -1.0f, 2.0f, 0.5f, -0.25f});
  ASSERT_EQ(tensor.specs[2].suffix, "biases");
  EXPECT_EQ(tensor.specs[2].shape, (Shape{1, 2}));
  const float scale = 15.0f / 15 - 12.0f / 15;
  EXPECT_EQ(as_float(tensor.planes[1]), scale);
  EXPECT_EQ(as_float(tensor.planes[2]), 12.0f);
  EXPECT_EQ(tensor.planes[0][0], std::byte{0x0f});  // 15 is code 15, 12 code 0
  EXPECT_EQ(y[0], scale * 15 + 12.0f);
  EXPECT_EQ(y[1], 12.0f);
  EXPECT_EQ(y[4], -1.0f);
  EXPECT_EQ(find_format("uint4:g64:bias")->name(), "int4:g64:bias");  // codes have one numbering
  EXPECT_EQ(find_format("int4:g64:bias")->info().first_code, 0);
  EXPECT_DOUBLE_EQ(find_format("int4:g64:bias")->info().bits_per_weight, 4.5);
}

TEST(PlanarInteger, GroupsOfOneValueAreTheirBias) {
  EXPECT_EQ(encode("int2:g4:bias", {0.75f, 0.75f, 0.75f, 0.75f}).decoded, std::vector<float>(4, 0.75f));
  EXPECT_EQ(encode("int2:g4:bias", {0.0f, 0.0f, 0.0f, 0.0f}).decoded, std::vector<float>(4, 0.0f));
}

// As other programs may store it: the bias at the upper end, the scale below zero.
TEST(PlanarInteger, ScalesBesideABiasMayBeNegative) {
  auto [tensor, y] = encode("int8:row:bias", {1.0f, 2.0f, 3.0f});
  const float scale = -0.5f, bias = 4.0f;
  std::memcpy(tensor.planes[1].data(), &scale, 4);
  std::memcpy(tensor.planes[2].data(), &bias, 4);
  for (std::size_t i = 0; i < 3; ++i) tensor.planes[0][i] = static_cast<std::byte>(100 * i);
  EXPECT_EQ(tensor.view().decode(), (std::vector<float>{4.0f, -46.0f, -96.0f}));
  EXPECT_FALSE(tensor.format->find_defect(tensor.view().row(0), 3));
  const float wrong = std::numeric_limits<float>::infinity();
  std::memcpy(tensor.planes[2].data(), &wrong, 4);
  EXPECT_EQ(tensor.format->find_defect(tensor.view().row(0), 3), "the bias is not finite at column 0");
}

TEST(PlanarInteger, ASearchedBiasIsNoWorseThanOneZeroPoint) {
  Random random(7);
  std::vector<float> x(64 * 64);
  for (float& value : x) value = static_cast<float>(random.normal() + 1.5);
  const auto error_of = [&](std::string_view format, FitRule rule) {
    const auto y = encode(format, x, rule, 64).decoded;
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) sum += std::pow(static_cast<double>(x[i] - y[i]), 2);
    return sum;
  };
  const double plain = error_of("int3:g64:bias", FitRule::absmax),
               searched = error_of("int3:g64:bias", FitRule::search);
  EXPECT_LT(searched, 0.95 * plain);
  EXPECT_LT(searched, error_of("int3:g64:asym", FitRule::search));
}

// Blocks of 2 x 3 in a matrix of 5 x 4: the last ones are short in both directions.
TEST(PlanarBlocks, RowsShareScales) {
  const std::vector<float> x = {127, 1, 2, 254,   3, 4, 5, -508,   //
                                6,   7, 8, 12.7f, 9, 0, 1, 25.4f,  //
                                0,   0, 0, 1};
  const auto [tensor, y] = encode("int8:block2x3", x, FitRule::absmax, 5);
  ASSERT_EQ(tensor.specs[1].suffix, "scales");
  EXPECT_EQ(tensor.specs[1].dtype, DType::f32);
  EXPECT_EQ(tensor.specs[1].shape, (Shape{3, 2}));
  const auto scale = [&](std::size_t i) { return as_float(std::span(tensor.planes[1]).subspan(4 * i)); };
  EXPECT_EQ(scale(0), 1.0f);
  EXPECT_EQ(scale(1), 4.0f);
  EXPECT_EQ(scale(2), 9 / 127.0f);
  EXPECT_EQ(scale(3), 25.4f / 127);
  EXPECT_EQ(scale(4), 1.0f);  // nothing but zeros
  EXPECT_EQ(scale(5), 1 / 127.0f);
  EXPECT_EQ(y[0], 127);
  EXPECT_EQ(y[3], 256);  // 254 / 4 = 63.5, to the even 64
  EXPECT_EQ(y[4], 3);
  EXPECT_EQ(y[7], -508);
  EXPECT_EQ(find_format("int8:block2x3")->info().row_unit, 2u);
  EXPECT_DOUBLE_EQ(find_format("int8:block128x128")->info().bits_per_weight, 8 + 32.0 / (128 * 128));
  EXPECT_EQ(make_view(tensor.format, 5, 4, tensor.view().planes, "w").decode(), y);
}

TEST(PlanarBlocks, CutsGoBetweenBlocks) {
  Random random(3);
  std::vector<float> x(10 * 8);
  for (float& value : x) value = static_cast<float>(random.normal());
  const auto [tensor, y] = encode("int4:block4x8:asym", x, FitRule::search, 10);
  const QuantizedView view = tensor.view();
  EXPECT_EQ(view_of_rows(view, 4, 4).decode(), std::vector<float>(y.begin() + 32, y.begin() + 64));
  EXPECT_EQ(view_of_rows(view, 8, 2).decode(), std::vector<float>(y.begin() + 64, y.end()));
  EXPECT_EQ(parts_of(view), std::vector<TensorPart>{TensorPart::row_tile});
  EXPECT_THROW(view_of_rows(view, 2, 4), Error);
  EXPECT_THROW(view_of_rows(view, 4, 2), Error);
  // Rows take what they share along with the first of them.
  QuantizedTensor copy(tensor.format, 10, 8);
  for (std::uint64_t row = 0; row < 10; ++row) copy.copy_row(row, view, row);
  EXPECT_EQ(copy.planes, tensor.planes);
}

TEST(PlanarInteger, ShortLastGroupHasItsOwnGrid) {
  std::vector<float> x(7, 0.75f);
  x[6] = 75.0f;
  const auto [tensor, y] = encode("int3:g3:f32", x);
  ASSERT_EQ(tensor.specs[1].shape, (Shape{1, 3}));
  EXPECT_EQ(tensor.planes[0].size(), 3u);  // 21 bits
  for (std::size_t i = 0; i < 6; ++i) EXPECT_FLOAT_EQ(y[i], 0.75f / 3.5f * 3);
  EXPECT_FLOAT_EQ(y[6], 75.0f / 3.5f * 3);
}

TEST(PlanarScales, TinyGroupsKeepAScaleAndHugeOnesAFiniteOne) {
  const auto tiny = encode("int8:g4", {1e-6f, -2e-6f, 0.0f, 3e-6f});
  EXPECT_NEAR(tiny.decoded[3], 3e-6f, 1e-7f);  // the scale is the smallest half, 2^-24; codes reach 50
  const auto huge = encode("int4:g4", {1e9f, -1e9f, 0.0f, 1.0f});
  EXPECT_EQ(huge.decoded[0], 7 * 65504.0f);
}

TEST(PlanarScales, PowersOfTwoFollowTheMicroscalingRule) {
  // OCP: 2^(floor(log2 amax) - emax); amax = 448 with E4M3 (emax 8) gives 1.
  const auto [tensor, y] = encode("fp8:g4:e8m0", {448.0f, 1.0f, -0.5f, 0.0f});
  EXPECT_EQ(std::to_integer<int>(tensor.planes[1][0]), 127);
  EXPECT_EQ(y, (std::vector<float>{448, 1, -0.5f, 0}));
}

TEST(PlanarScales, TwoLevelScalesAreMultiplesOfTheRowsBase) {
  std::vector<float> x;
  for (int group = 0; group < 4; ++group)
    for (int i = 0; i < 64; ++i)
      x.push_back(static_cast<float>(std::sin(i * 0.7 + group)) * static_cast<float>(group + 1));
  const auto [tensor, y] = encode("int4:g64:s8", x);
  ASSERT_EQ(tensor.specs[2].suffix, "base");
  EXPECT_EQ(std::to_integer<int>(tensor.planes[1][3]), 255);  // the largest scale
  EXPECT_NEAR(std::to_integer<int>(tensor.planes[1][0]), 64, 1);
  EXPECT_DOUBLE_EQ(find_format("int4:g64:s8")->info().bits_per_weight, 4.125);
  EXPECT_DOUBLE_EQ(find_format("int4:g64:s6:asym")->info().bits_per_weight, 4 + 6.0 / 64 + 4.0 / 64);
  double error = 0;
  for (std::size_t i = 0; i < x.size(); ++i) error = std::max(error, static_cast<double>(std::fabs(x[i] - y[i])));
  EXPECT_LT(error, 4 / 7.5 * 0.52);
}

TEST(PlanarTernary, ThreeRules) {
  const std::vector<float> x{1.0f, -0.6f, 0.2f, -0.2f, 0.1f, 0.9f, -0.1f, 0.3f};  // mean |x| = 0.425
  const auto absmean = encode("ternary:row", x, FitRule::absmean);
  EXPECT_FLOAT_EQ(as_float(absmean.tensor.planes[1]), 0.425f);
  EXPECT_FLOAT_EQ(absmean.decoded[7], 0.425f);  // 0.3 / 0.425 rounds to 1
  // Ternary Weight Networks: |x| > 0.7 * 0.425 = 0.2975 are kept: 1, 0.6, 0.9, 0.3; their mean is 0.7.
  const auto threshold = encode("ternary:row", x, FitRule::threshold);
  EXPECT_FLOAT_EQ(as_float(threshold.tensor.planes[1]), 0.7f);
  EXPECT_FLOAT_EQ(threshold.decoded[7], 0.7f);  // kept, though nearer to 0
  EXPECT_EQ(threshold.decoded[2], 0.0f);
  // The exact optimum keeps three: (1 + 0.9 + 0.6)^2 / 3 = 2.083 beats 1.9^2 / 2 = 1.805 and 2.8^2 / 4 = 1.96.
  const auto search = encode("ternary:row", x, FitRule::search);
  EXPECT_FLOAT_EQ(as_float(search.tensor.planes[1]), 2.5f / 3);
}

TEST(PlanarTernary, ReservedCodeIsADefect) {
  auto [tensor, y] = encode("ternary:row", {1.0f, -1.0f, 0.0f, 1.0f});
  EXPECT_EQ(find_format("ternary:row")->find_defect(tensor.view().row(0), 4), std::nullopt);
  tensor.planes[0][0] |= std::byte{3 << 4};
  EXPECT_EQ(find_format("ternary:row")->find_defect(tensor.view().row(0), 4), "the code is reserved at column 2");
}

TEST(PlanarBinary, ScaleIsTheMeanMagnitude) {
  const auto [tensor, y] = encode("binary:row", {1.0f, -3.0f, 0.5f, -0.5f});
  EXPECT_EQ(y, (std::vector<float>{1.25f, -1.25f, 1.25f, -1.25f}));
  EXPECT_EQ(tensor.planes[0][0], std::byte{0b0101});
}

TEST(PlanarPointTables, EveryPointIsItsOwnNearest) {
  for (const auto points : {PlanarPoints::nf4, PlanarPoints::fp4, PlanarPoints::e2m1, PlanarPoints::fp6_e2m3,
                            PlanarPoints::fp6_e3m2, PlanarPoints::fp8_e4m3, PlanarPoints::fp8_e5m2}) {
    const PointTable& table = *point_table(points);
    const Code num_codes = points <= PlanarPoints::e2m1 ? 16 : points <= PlanarPoints::fp6_e3m2 ? 64 : 256;
    for (Code code = 0; code < num_codes; ++code) {
      if (table.is_reserved(code)) continue;
      EXPECT_EQ(table.value(table.nearest(table.value(code))), table.value(code))
          << static_cast<int>(points) << " " << code;
      EXPECT_EQ(table.round(table.value(code)), table.value(code));
    }
    // Random numbers against all codes.
    Random random(1);
    for (int i = 0; i < 2000; ++i) {
      const float x = static_cast<float>(random.normal() * (i % 2 == 0 ? 1.0 : 0.4) * static_cast<double>(table.max()));
      const float chosen = table.value(table.nearest(x));
      EXPECT_EQ(chosen, table.round(x));
      for (Code code = 0; code < num_codes; ++code) {
        if (table.is_reserved(code)) continue;
        ASSERT_LE(std::fabs(chosen - x), std::fabs(table.value(code) - x)) << x;
      }
    }
  }
}

TEST(PlanarPointTables, LargestValuesAndTies) {
  EXPECT_EQ(point_table(PlanarPoints::e2m1)->max(), 6.0f);
  EXPECT_EQ(point_table(PlanarPoints::fp6_e2m3)->max(), 7.5f);
  EXPECT_EQ(point_table(PlanarPoints::fp6_e3m2)->max(), 28.0f);
  EXPECT_EQ(point_table(PlanarPoints::fp8_e4m3)->max(), 448.0f);
  EXPECT_EQ(point_table(PlanarPoints::fp8_e5m2)->max(), 57344.0f);
  EXPECT_EQ(point_table(PlanarPoints::e2m1)->round(5.0f), 4.0f);  // between 4 (code 6) and 6 (code 7)
  EXPECT_EQ(point_table(PlanarPoints::e2m1)->round(-2.5f), -2.0f);
  EXPECT_EQ(point_table(PlanarPoints::fp8_e4m3)->round(0x1p-10f), 0.0f);   // half of the smallest subnormal
  EXPECT_EQ(point_table(PlanarPoints::fp8_e4m3)->nearest(0x1.8p-9f), 2u);  // between 1 and 2
  EXPECT_EQ(point_table(PlanarPoints::fp8_e4m3)->nearest(-0x1p-20f), 0u);  // no negative zero
  EXPECT_TRUE(point_table(PlanarPoints::fp8_e4m3)->is_reserved(0x7f));
  EXPECT_TRUE(point_table(PlanarPoints::fp8_e5m2)->is_reserved(0xfc));
}

TEST(PlanarLearned, TableFindsTheClusters) {
  std::vector<float> x;
  Random random(3);
  for (int i = 0; i < 400; ++i)
    x.push_back(static_cast<float>(std::array{-1.0, -0.25, 0.5, 2.0}[static_cast<std::size_t>(i % 4)] +
                                   0.001 * random.normal()));
  const auto [tensor, y] = encode("table2:row:f32", x, FitRule::automatic);
  for (std::size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(x[i], y[i], 0.006f);
  ASSERT_EQ(tensor.specs[1].suffix, "table");
  EXPECT_EQ(tensor.specs[1].shape, (Shape{1, 1, 4}));
}

TEST(PlanarLearned, ImportanceMovesThePoints) {
  // Three values, two of them important, on a table of four: all exact; on the weighted mean when they must share.
  const FormatPtr format = find_format("table2:row:f32");
  std::vector<float> x{0, 1, 2, 3, 10, 11}, importance{0, 1, 1, 1, 100, 100};
  float table[4];
  const auto& spec = dynamic_cast<const PlanarFormat&>(*format).spec();
  fit_table(spec, x, importance, {}, table);
  EXPECT_EQ(table[2], 10.0f);
  EXPECT_EQ(table[3], 11.0f);
}

TEST(PlanarClips, PercentileCutsTheTails) {
  std::vector<float> x(1000, 0.01f);
  x[3] = 1.27f;
  QuantizedTensor tensor(find_format("int8:row"), 1, 1000);
  tensor.format->encode_row(x, {}, nullptr, 0, {.rule = FitRule::percentile, .percentile = 99.0}, tensor.row(0));
  EXPECT_FLOAT_EQ(as_float(tensor.planes[1]), 0.01f / 127);
}

TEST(PlanarClips, EntropyCutsALoneOutlierAndKeepsAUniformRange) {
  std::vector<float> uniform(20000), outlier(20000);
  Random random(5);
  for (std::size_t i = 0; i < uniform.size(); ++i) {
    uniform[i] = static_cast<float>(random.uniform() * 2 - 1);
    outlier[i] = static_cast<float>(random.normal());
  }
  outlier[0] = 100.0f;
  EXPECT_GT(as_float(encode("int8:row", uniform, FitRule::entropy).tensor.planes[1]), 0.95f / 127);
  EXPECT_LT(as_float(encode("int8:row", outlier, FitRule::entropy).tensor.planes[1]), 10.0f / 127);
}

}  // namespace
}  // namespace nibble
