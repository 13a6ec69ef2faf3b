// SPDX-License-Identifier: Apache-2.0
//
// The lattice format against what another program wrote and read (tools/reference_lattice.py), and what is known of it.
#include "format/lattice/lattice_format.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "base/half.h"
#include "base/mapped_file.h"
#include "format/encode_tensor.h"
#include "format/lattice/e8p_points.h"
#include "nibble/error.h"

namespace nibble {
namespace {

using Point = std::array<std::int8_t, kLatticeCols>;

nlohmann::json read_cases() {
  const MappedFile file(NIBBLE_SOURCE_DIR "/tests/data/format/lattice.json");
  const auto* const text = reinterpret_cast<const char*>(file.bytes().data());
  return nlohmann::json::parse(text, text + file.bytes().size());
}

TEST(Lattice, BytesAndNumbersAreAsAnotherProgramHasThem) {
  const nlohmann::json data = read_cases();
  const std::size_t rows = data["rows"], cols = data["cols"], octets = cols / kLatticeCols;
  std::vector<float> x;
  for (const int thousandths : data["thousandths"]) x.push_back(static_cast<float>(thousandths / 1000.0));
  const QuantizedTensor tensor = encode_tensor(find_format("e8p2"), x, rows);
  const std::vector<float> decoded = tensor.view().decode();
  for (std::size_t row = 0; row < rows; ++row) {
    std::uint16_t half;
    std::memcpy(&half, &tensor.planes[1][2 * row], sizeof(half));
    ASSERT_EQ(half, data["scales"][row].get<std::uint16_t>()) << "row " << row;
    for (std::size_t octet = 0; octet < octets; ++octet) {
      std::uint16_t code;
      std::memcpy(&code, &tensor.planes[0][2 * (row * octets + octet)], sizeof(code));
      ASSERT_EQ(code, data["codes"][row * octets + octet].get<std::uint16_t>()) << "row " << row << ", octet " << octet;
    }
    for (std::size_t col = 0; col < cols; ++col)
      ASSERT_EQ(decoded[row * cols + col],
                f16_to_f32(half) * static_cast<float>(data["points"][row * cols + col].get<int>()))
          << "row " << row << ", column " << col;
  }
  const nlohmann::json& sample = data["sample"];
  ASSERT_GT(sample.size(), 60u);
  for (const nlohmann::json& one : sample)
    EXPECT_EQ(lattice_values(one[0].get<std::uint16_t>()), one[1].get<Point>()) << one[0];
}

// Values count quarters of E8's coordinates, which are all whole or all halves of odd numbers, with an even sum.
TEST(Lattice, PointsAreDistinctAndOfOneCosetOfTheLattice) {
  std::set<Point> points;
  const Point first = lattice_values(0);
  std::int64_t sums = 0;
  for (std::uint32_t code = 0; code < 65536; ++code) {
    const Point point = lattice_values(static_cast<std::uint16_t>(code));
    points.insert(point);
    int sum = 0, odd = 0;
    for (std::size_t j = 0; j < kLatticeCols; ++j) {
      const int difference = point[j] - first[j];
      ASSERT_EQ(difference % 2, 0) << code;
      odd += difference / 2 % 2 != 0 ? 1 : 0;
      sum += difference;
      sums += point[j];
    }
    ASSERT_TRUE(odd == 0 || odd == 8) << code;
    ASSERT_EQ(sum % 8, 0) << code;
  }
  EXPECT_EQ(points.size(), 65536u);
  EXPECT_EQ(sums, 0);
}

// The squared error of normal numbers is 0.0917 of their variance at the best scale (integers of 2 bits: 0.1189).
TEST(Lattice, LosesWhatItShouldOnNormalNumbers) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> x(32 * 512);
  for (float& value : x) value = normal(random);
  const std::vector<float> decoded = encode_tensor(find_format("e8p2"), x, 32).view().decode();
  double squares = 0, errors = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    squares += static_cast<double>(x[i] * x[i]);
    errors += static_cast<double>((x[i] - decoded[i]) * (x[i] - decoded[i]));
  }
  EXPECT_LT(errors / squares, 0.097);
  EXPECT_GT(errors / squares, 0.089);
}

// In a full metric, too, no point is nearer.
TEST(Lattice, FindsTheNearestPointInAMetric) {
  const FormatPtr format = find_format("e8p2");
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  const float scale = 0.25F;
  std::byte grid[sizeof(scale)];
  std::memcpy(grid, &scale, sizeof(scale));
  for (int trial = 0; trial < 8; ++trial) {
    float root[64], metric[64] = {}, target[8];
    for (std::size_t i = 0; i < 64; ++i) root[i] = (i % 9 == 0 ? 1.0F : 0.0F) + 0.3F * normal(random);
    for (std::size_t i = 0; i < 64; ++i)
      for (std::size_t k = 0; k < 8; ++k) metric[i] += root[8 * k + i / 8] * root[8 * k + i % 8];
    for (float& one : target) one = normal(random);
    const auto error_of = [&](Code code) {
      float stored[8];
      format->value(grid, 0, code, stored);
      double sum = 0;
      for (std::size_t i = 0; i < 64; ++i)
        sum += static_cast<double>((target[i / 8] - stored[i / 8]) * metric[i] * (target[i % 8] - stored[i % 8]));
      return sum;
    };
    double least = error_of(0);
    for (Code code = 1; code < 65536; ++code) least = std::min(least, error_of(code));
    EXPECT_LE(error_of(format->nearest(grid, 0, target, metric)), least * (1 + 1e-4)) << trial;
  }
}

TEST(Lattice, TakesRowsOfWholeOctets) { EXPECT_THROW(find_format("e8p2")->planes(4, 12), Error); }

}  // namespace
}  // namespace nibble
