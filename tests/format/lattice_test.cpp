// SPDX-License-Identifier: Apache-2.0
//
// The lattice format against what another program wrote and read (tools/reference_lattice.py), and what is known of it.
#include "format/lattice/lattice_format.h"

#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "base/half.h"
#include "base/mapped_file.h"
#include "format/encode_tensor.h"
#include "format/lattice/e8p_points.h"
#include "format/lattice/nested_points.h"
#include "format/lattice/nested_search.h"
#include "nibble/error.h"

namespace nibble {
namespace {

using Point = std::array<std::int8_t, kLatticeCols>;

nlohmann::json read_cases() {
  const MappedFile file(NIBBLE_SOURCE_DIR "/tests/data/format/lattice.json");
  const auto* const text = reinterpret_cast<const char*>(file.bytes().data());
  return nlohmann::json::parse(text, text + file.bytes().size());
}

class Lattices : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Formats, Lattices, testing::Values("e8p2", "e8p3", "e8p4"),
                         [](const auto& instance) { return std::string(instance.param); });

double squared_distance(const Point& point, const std::vector<double>& y) {
  double sum = 0;
  for (std::size_t j = 0; j < kLatticeCols; ++j) sum += (point[j] - y[j]) * (point[j] - y[j]);
  return sum;
}

TEST_P(Lattices, BytesAndNumbersAreAsAnotherProgramHasThem) {
  const nlohmann::json data = read_cases()[GetParam()];
  const std::size_t rows = data["rows"], cols = data["cols"], octets = cols / kLatticeCols;
  const FormatPtr format = find_format(GetParam());
  const std::size_t refinements = lattice_shape(*format)->num_refinements, bytes = 2 + refinements;
  std::vector<float> x;
  for (const int thousandths : data["thousandths"]) x.push_back(static_cast<float>(thousandths / 1000.0));
  QuantizedTensor tensor = encode_tensor(format, x, rows);
  ASSERT_EQ(tensor.planes[0].size(), rows * octets * bytes);
  for (std::size_t row = 0; row < rows; ++row) {
    std::uint16_t half;
    std::memcpy(&half, &tensor.planes[1][2 * row], sizeof(half));
    ASSERT_EQ(half, data["scales"][row].get<std::uint16_t>()) << "row " << row;
    for (std::size_t octet = row * octets; half != 0 && octet < (row + 1) * octets; ++octet) {
      Code code = 0;
      std::memcpy(&code, &tensor.planes[0][bytes * octet], bytes);
      // Of equally near points, whichever was met.
      std::vector<double> y;
      for (std::size_t j = 0; j < kLatticeCols; ++j)
        y.push_back(static_cast<double>(x[kLatticeCols * octet + j]) / static_cast<double>(f16_to_f32(half)));
      EXPECT_LE(squared_distance(nested_values(code, refinements), y),
                squared_distance(nested_values(data["codes"][octet].get<Code>(), refinements), y) * (1 + 1e-5))
          << "octet " << octet;
    }
  }
  // What the other program wrote.
  for (std::size_t octet = 0; octet < rows * octets; ++octet) {
    const auto code = data["codes"][octet].get<Code>();
    std::memcpy(&tensor.planes[0][bytes * octet], &code, bytes);
  }
  const std::vector<float> decoded = tensor.view().decode();
  for (std::size_t i = 0; i < rows * cols; ++i)
    ASSERT_EQ(decoded[i], f16_to_f32(data["scales"][i / cols].get<std::uint16_t>()) *
                              static_cast<float>(data["points"][i].get<int>()))
        << i;
  const nlohmann::json& sample = data["sample"];
  ASSERT_GT(sample.size(), 60u);
  for (const nlohmann::json& one : sample)
    EXPECT_EQ(nested_values(one[0].get<Code>(), refinements), one[1].get<Point>()) << one[0];
}

// The finer lattice has every point once: codes and points are each other's inverses.
TEST(Lattice, RefinementsNameEveryPointOnce) {
  std::mt19937 random(5);
  for (const std::size_t refinements : {1u, 2u}) {
    const LatticeVector origin = nested_origin(refinements);
    std::int32_t largest = 0;
    for (int trial = 0; trial < 20000; ++trial) {
      const auto code = static_cast<Code>(random()) >> (refinements == 1 ? 8 : 0);
      const Point values = nested_values(code, refinements);
      LatticeVector point;
      for (std::size_t j = 0; j < kLatticeCols; ++j) {
        point[j] = values[j] - origin[j];
        largest = std::max(largest, std::abs(std::int32_t{values[j]}));
      }
      ASSERT_EQ(nested_code(point, refinements), code);
    }
    EXPECT_LE(largest, kLargestNestedValue[refinements]);
    LatticeVector far{};
    far.fill(100);
    EXPECT_EQ(nested_code(far, refinements), std::nullopt);
  }
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

// The squared error of normal numbers is 0.0891, 0.0256 and 0.0070 of their variance at the best scale (integers of as
// many bits: 0.1189, 0.0374, 0.0115).
TEST_P(Lattices, LoseWhatTheyShouldOnNormalNumbers) {
  const std::size_t refinements = lattice_shape(*find_format(GetParam()))->num_refinements;
  std::mt19937 random(2);
  std::normal_distribution<float> normal;
  std::vector<float> x(16 * 512);
  for (float& value : x) value = normal(random);
  const std::vector<float> decoded = encode_tensor(find_format(GetParam()), x, 16).view().decode();
  double squares = 0, errors = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    squares += static_cast<double>(x[i] * x[i]);
    errors += static_cast<double>((x[i] - decoded[i]) * (x[i] - decoded[i]));
  }
  constexpr double kLeast[] = {0.089, 0.0245, 0.0066}, kMost[] = {0.097, 0.027, 0.0076};
  EXPECT_LT(errors / squares, kMost[refinements]);
  EXPECT_GT(errors / squares, kLeast[refinements]);
}

struct MetricProblem {
  float metric[64] = {}, target[8];

  MetricProblem(std::mt19937& random, float spread) {
    std::normal_distribution<float> normal;
    float root[64];
    for (std::size_t i = 0; i < 64; ++i) root[i] = (i % 9 == 0 ? 1.0F : 0.0F) + 0.3F * normal(random);
    for (std::size_t i = 0; i < 64; ++i)
      for (std::size_t k = 0; k < 8; ++k) metric[i] += root[8 * k + i / 8] * root[8 * k + i % 8];
    for (float& one : target) one = spread * normal(random);
  }
  double error_of(const Point& point) const {
    double sum = 0;
    for (std::size_t i = 0; i < 64; ++i)
      sum += static_cast<double>((target[i / 8] - static_cast<float>(point[i / 8])) * metric[i] *
                                 (target[i % 8] - static_cast<float>(point[i % 8])));
    return sum;
  }
};

// In a full metric, too, no point is nearer.
TEST(Lattice, FindsTheNearestPointInAMetric) {
  const FormatPtr format = find_format("e8p2");
  std::mt19937 random(3);
  const float scale = 1;
  std::byte grid[sizeof(scale)];
  std::memcpy(grid, &scale, sizeof(scale));
  for (int trial = 0; trial < 8; ++trial) {
    const MetricProblem problem(random, 4);
    double least = problem.error_of(lattice_values(0));
    for (Code code = 1; code < 65536; ++code)
      least = std::min(least, problem.error_of(lattice_values(static_cast<std::uint16_t>(code))));
    const Code found = format->nearest(grid, 0, problem.target, problem.metric);
    EXPECT_LE(problem.error_of(lattice_values(static_cast<std::uint16_t>(found))), least * (1 + 1e-4)) << trial;
  }
}

// Of each byte the nearest point of E8P to what it leaves; targets beyond all points are among them, of which some are
// given up on before the nearest is found.
TEST(Lattice, FindsTheNearestRefinedPointInAMetric) {
  const FormatPtr format = find_format("e8p2");
  const float scale = 1;
  std::byte grid[sizeof(scale)];
  std::memcpy(grid, &scale, sizeof(scale));
  std::mt19937 random(4);
  double found = 0, best = 0;
  for (int trial = 0; trial < 24; ++trial) {
    const MetricProblem problem(random, trial % 3 == 0 ? 5.0F : 3.0F);
    double least = std::numeric_limits<double>::infinity();
    for (Code byte = 0; byte < kRefinements; ++byte) {
      float rest[8];
      for (std::size_t j = 0; j < 8; ++j) rest[j] = problem.target[j] - static_cast<float>(refinements()[byte][j]);
      const Code code = format->nearest(grid, 0, rest, problem.metric) | byte << 16;
      least = std::min(least, problem.error_of(nested_values(code, 1)));
    }
    const double own = problem.error_of(nested_values(nearest_nested(1, problem.target, problem.metric), 1));
    EXPECT_GE(own, least * (1 - 1e-4)) << trial;
    EXPECT_LE(own, least * 1.5) << trial;
    found += own;
    best += least;
  }
  EXPECT_LE(found, 1.01 * best);
}

// Of targets whose squares are infinite, or that are no numbers, any point will do, but it is one.
TEST(Lattice, HasPointsForTargetsBeyondAll) {
  const float scale = 1;
  std::byte grid[sizeof(scale)];
  std::memcpy(grid, &scale, sizeof(scale));
  float plain[64] = {};
  for (std::size_t i = 0; i < 64; i += 9) plain[i] = 1;
  for (const char* const name : {"e8p2", "e8p3", "e8p4"}) {
    const FormatPtr format = find_format(name);
    for (const float* const metric : {static_cast<const float*>(nullptr), static_cast<const float*>(plain)})
      for (unsigned negative = 0; negative < 256; ++negative) {
        float far[8], near[8];
        for (std::size_t j = 0; j < 8; ++j) {
          const float sign = (negative >> j & 1u) != 0 ? -1.0F : 1.0F;
          far[j] = sign * (j % 2 == 0 ? 1e30F : std::numeric_limits<float>::infinity());
          near[j] = sign * 1000;
        }
        EXPECT_EQ(format->nearest(grid, 0, far, metric), format->nearest(grid, 0, near, metric)) << name << negative;
      }
    float none[8], middle[8] = {};
    std::fill_n(none, 8, std::numeric_limits<float>::quiet_NaN());
    EXPECT_EQ(format->nearest(grid, 0, none, nullptr), format->nearest(grid, 0, middle, nullptr)) << name;
  }
}

TEST(Lattice, TakesRowsOfWholeOctets) { EXPECT_THROW(find_format("e8p2")->planes(4, 12), Error); }

}  // namespace
}  // namespace nibble
