// SPDX-License-Identifier: Apache-2.0
//
// nf4 and fp4 with doubly quantized scales beside what bitsandbytes 0.50 stores. tests/data/format/{nf4,fp4}_double.bin
// hold, for the matrix below (130 rows of 192, blocks of 64): 390 scale codes, 2 scales of scales, their offset, and
// the codes, first of a pair high.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>

#include "format/planar/dynamic_map.h"
#include "format/quantized_tensor.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::size_t kRows = 130, kCols = 192, kGroups = kRows * 3, kNested = 2;

// Cubes of hashed numbers, with rows of different spread and one block of zeros; exact in f32.
std::vector<float> golden_matrix() {
  std::vector<float> x(kRows * kCols);
  for (std::size_t i = 0; i < x.size(); ++i) {
    std::uint32_t hash = static_cast<std::uint32_t>(i) * 2654435761u + 12345u;
    hash = (hash ^ (hash >> 15)) * 2246822519u;
    const float u = static_cast<float>(static_cast<std::int32_t>(hash >> 8) - (1 << 23)) * 0x1p-23f;
    x[i] = u * u * u * static_cast<float>(1 + (i / kCols) % 7) * 0x1p-6f;
  }
  std::fill_n(x.begin() + 5 * kCols, 64, 0.0f);
  return x;
}

struct Golden {
  std::vector<std::uint8_t> scales, codes;  // a byte each
  float nested[kNested] = {}, offset = 0;
};

Golden read_golden(const std::string& points) {
  std::ifstream file(NIBBLE_SOURCE_DIR "/tests/data/format/" + points + "_double.bin", std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  Golden golden;
  EXPECT_EQ(bytes.size(), kGroups + 4 * kNested + 4 + kRows * kCols / 2);
  golden.scales.assign(bytes.begin(), bytes.begin() + kGroups);
  std::memcpy(golden.nested, bytes.data() + kGroups, sizeof golden.nested);
  std::memcpy(&golden.offset, bytes.data() + kGroups + sizeof golden.nested, sizeof golden.offset);
  for (std::size_t i = kGroups + sizeof golden.nested + 4; i < bytes.size(); ++i) {
    golden.codes.push_back(static_cast<std::uint8_t>(bytes[i]) >> 4);
    golden.codes.push_back(static_cast<std::uint8_t>(bytes[i]) & 15);
  }
  return golden;
}

QuantizedTensor encode(const FormatPtr& format, std::span<const float> x, const FitOptions& options) {
  QuantizedTensor tensor(format, kRows, kCols);
  tensor.tensor_grid = format->prepare(x, kRows, kCols, {}, options);
  format->pack_tensor(tensor.tensor_grid.get(), tensor.row(0));
  for (std::uint64_t row = 0; row < kRows; ++row)
    format->encode_row(x.subspan(row * kCols, kCols), {}, tensor.tensor_grid.get(), row, options, tensor.row(row));
  return tensor;
}

class DoubleQuantization : public testing::TestWithParam<const char*> {};

TEST_P(DoubleQuantization, PlainRoundingGivesTheBytesOfBitsandbytes) {
  const Golden golden = read_golden(GetParam());
  const auto tensor =
      encode(find_format(std::string(GetParam()) + ":g64:dq"), golden_matrix(), {.rule = FitRule::absmax});
  ASSERT_EQ(tensor.planes.size(), 4u);
  ASSERT_EQ(tensor.planes[1].size(), kGroups);
  for (std::size_t i = 0; i < kGroups; ++i)
    ASSERT_EQ(std::to_integer<int>(tensor.planes[1][i]), golden.scales[i]) << "scale " << i;
  float nested[kNested], offset;
  std::memcpy(nested, tensor.planes[2].data(), sizeof nested);
  std::memcpy(&offset, tensor.planes[3].data(), sizeof offset);
  // Theirs is a mean in f32, summed in another order: its error is within one part in 2^24 for each doubling of the 390
  // numbers.
  const float bound = 9 * 0x1p-24f * golden.offset;
  EXPECT_NEAR(offset, golden.offset, bound);
  for (std::size_t i = 0; i < kNested; ++i) EXPECT_NEAR(nested[i], golden.nested[i], bound);
  for (std::size_t i = 0; i < kRows * kCols; ++i) {
    const int code = std::to_integer<int>(tensor.planes[0][i / 2]) >> (i % 2 * 4) & 15;
    const bool is_zero = std::string(GetParam()) == "fp4" && golden.codes[i] == 8;  // their negative zero
    ASSERT_EQ(code, is_zero ? 0 : golden.codes[i]) << "column " << i;
  }
}

TEST_P(DoubleQuantization, ScalesOfARowMayLieInTwoRuns) {
  // Row 85 has groups 255, 256 and 257: the first counts in the first scale of scales, the others in the second.
  const auto x = golden_matrix();
  const auto tensor = encode(find_format(std::string(GetParam()) + ":g64:dq"), x, {.rule = FitRule::absmax});
  const auto decoded = tensor.view().decode();
  float nested[kNested], offset;
  std::memcpy(nested, tensor.planes[2].data(), sizeof nested);
  std::memcpy(&offset, tensor.planes[3].data(), sizeof offset);
  ASSERT_NE(nested[0], nested[1]);
  for (std::size_t group = 255; group < 258; ++group) {
    const float scale =
        dynamic_value(std::to_integer<std::uint8_t>(tensor.planes[1][group])) * nested[group / 256] + offset;
    float largest = 0, given = 0;
    for (std::size_t i = 64 * group; i < 64 * (group + 1); ++i) {
      largest = std::max(largest, std::fabs(decoded[i]));
      given = std::max(given, std::fabs(x[i]));
    }
    EXPECT_EQ(largest, scale);  // the largest magnitude takes the point 1
    EXPECT_NEAR(scale, given, 0.02f * given + 0.01f * nested[group / 256]);
  }
}

TEST_P(DoubleQuantization, SearchedScalesAreNotWorse) {
  const auto x = golden_matrix();
  const FormatPtr format = find_format(std::string(GetParam()) + ":g64:dq");
  const auto error = [&](FitRule rule) {
    const auto y = encode(format, x, {.rule = rule}).view().decode();
    double sum = 0;
    for (std::size_t i = 0; i < x.size(); ++i) sum += std::pow(static_cast<double>(x[i] - y[i]), 2);
    return sum;
  };
  EXPECT_LT(error(FitRule::search), error(FitRule::absmax));
}

// 8 rows of 64 groups: four of them share a scale of scales.
TEST_P(DoubleQuantization, CutsGoBetweenRunsOfScales) {
  constexpr std::size_t kWide = 4096;
  const FormatPtr format = find_format(std::string(GetParam()) + ":g64:dq");
  std::vector<float> x(8 * kWide);
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = std::sin(static_cast<float>(i)) * static_cast<float>(1 + i / (4 * kWide));
  QuantizedTensor tensor(format, 8, kWide);
  tensor.tensor_grid = format->prepare(x, 8, kWide, {}, {});
  format->pack_tensor(tensor.tensor_grid.get(), tensor.row(0));
  for (std::uint64_t row = 0; row < 8; ++row)
    format->encode_row(std::span(x).subspan(row * kWide, kWide), {}, tensor.tensor_grid.get(), row, {},
                       tensor.row(row));
  const std::vector<float> all = tensor.view().decode();
  const QuantizedView lower = view_of_rows(tensor.view(), 4, 4);
  EXPECT_EQ(lower.decode(), std::vector<float>(all.begin() + 4 * kWide, all.end()));
  // Span by span, too, which reads the view's own grid.
  std::vector<std::byte> grid(format->grid_bytes());
  std::vector<Code> codes(64);
  format->unpack(lower.row(1), 3, 64, lower.tensor_grid.get(), 1, grid.data(), codes.data());
  float value = 0;
  format->value(grid.data(), 0, codes[0], &value);
  EXPECT_EQ(value, all[5 * kWide + 3 * 64]);
  EXPECT_EQ(view_of_rows(tensor.view(), 0, 3).decode(), std::vector<float>(all.begin(), all.begin() + 3 * kWide));
  EXPECT_THROW(view_of_rows(tensor.view(), 2, 4), Error);
}

TEST_P(DoubleQuantization, InfiniteScalesOfScalesAreADefect) {
  auto tensor = encode(find_format(std::string(GetParam()) + ":g64:dq"), golden_matrix(), {});
  EXPECT_EQ(tensor.format->find_tensor_defect(tensor.format->unpack_tensor(tensor.view().row(0), kRows, kCols).get()),
            std::nullopt);
  const float infinite = HUGE_VALF;
  std::memcpy(tensor.planes[2].data() + 4, &infinite, 4);
  EXPECT_EQ(tensor.format->find_tensor_defect(tensor.format->unpack_tensor(tensor.view().row(0), kRows, kCols).get()),
            "the scale of scales 1 is not finite");
}

INSTANTIATE_TEST_SUITE_P(Points, DoubleQuantization, testing::Values("nf4", "fp4"));

TEST(DynamicMap, AscendsThroughZeroToOne) {
  for (std::size_t i = 1; i < 256; ++i) EXPECT_LT(kDynamicMap[i - 1], kDynamicMap[i]);
  EXPECT_EQ(kDynamicMap[127], 0.0f);
  EXPECT_EQ(kDynamicMap[255], 1.0f);
  EXPECT_EQ(kDynamicMap[0], -kDynamicMap[254]);
  // Seven decades of 1, 2, 4, ... 64 means of evenly spaced bounds between a tenth and the whole.
  std::size_t index = 0;
  for (int decade = 0; decade < 7; ++decade)
    for (int k = 0; k < 1 << decade; ++k, ++index) {
      const double mean = 0.1 + 0.9 * (k + 0.5) / (1 << decade);
      EXPECT_NEAR(static_cast<double>(kDynamicMagnitudes[index]) / (mean * std::pow(10.0, decade - 6)), 1, 2e-7)
          << index;
    }
  EXPECT_EQ(index, 127u);
}

TEST(DynamicMap, NearestIsNearest) {
  for (int i = -1300; i <= 1300; ++i) {
    const float x = static_cast<float>(i) * 0.00083f;
    const float chosen = kDynamicMap[nearest_dynamic(x)];
    for (const float value : kDynamicMap) ASSERT_LE(std::fabs(chosen - x), std::fabs(value - x)) << x;
  }
}

}  // namespace
}  // namespace nibble
