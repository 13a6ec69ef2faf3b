// SPDX-License-Identifier: Apache-2.0
//
// The grids of the IQ types against the arrays of ggml, and the tree search against trying every point with every sign.
#include "format/family/iq_codebook.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "base/random.h"
#include "format/format.h"
#include "format/golden_data.h"

namespace nibble {
namespace {

// tests/data/format/grids holds ggml's arrays, little-endian. Their sha256:
//   iq2xxs 05826b5d3e472a3a78f196be62ac78acf81df0f909626e12ab9fa2a5d490dd54   iq3xxs
//   46e35f5a997efdee6c99ce57854c8a0d4f0ff8ca57e5e8a60c0793ea580acf5d iq2xs
//   06e47aaca60b4dc1d9b5a3f34540437058a6b142b4d7a59d5ded769b4d1bf1de   iq3s
//   bd1af4945a1717c65610b0284e4628b9a1ba3b306fae3a06f6e5f597356e349f iq2s
//   e1aa1473412b0552c2174c30ef22ab4073f6a181b85a17056e8249bd2932fd88   iq1s
//   07540ffc1aeaf6ad4d97e96b0fcc765aae39671d4ae4a27bbd0e796fde167c6a
struct Book {
  const char* name;
  const Codebook& (*get)();
  std::size_t num_points;
  Signs signs;
  float shift;
};

const Book kBooks[] = {
    {"iq2xxs", iq2_xxs_codebook, 256, Signs::even, 0}, {"iq2xs", iq2_xs_codebook, 512, Signs::even, 0},
    {"iq2s", iq2_s_codebook, 1024, Signs::any, 0},     {"iq3xxs", iq3_xxs_codebook, 256, Signs::odd, 0},
    {"iq3s", iq3_s_codebook, 512, Signs::any, 0},      {"iq1s", iq1_codebook, 2048, Signs::none, -0.125f}};

class Codebooks : public testing::TestWithParam<Book> {
 protected:
  const Codebook& book_ = GetParam().get();
  const std::size_t dimensions_ = book_.dimensions();
  const Signs signs_ = GetParam().signs;
  const float shift_ = GetParam().shift;

  // Calls visit(index, negative, unit) for every point with every sign allowed.
  template <class Visit>
  void for_all(Visit visit) const {
    for (std::uint32_t index = 0; index < book_.num_points(); ++index)
      for (std::uint32_t negative = 0; negative < (signs_ == Signs::none ? 1u : 1u << dimensions_); ++negative) {
        const bool odd = std::popcount(negative) % 2 != 0;
        if ((signs_ == Signs::even && odd) || (signs_ == Signs::odd && !odd)) continue;
        visit(index, negative);
      }
  }
  double coordinate(std::uint32_t index, std::uint32_t negative, std::size_t j) const {
    const double level = book_.point(index)[j] + shift_;
    return (negative >> j & 1u) != 0 ? -level : level;
  }
  // A target of the size of the points, some coordinates zero.
  std::vector<float> random_target(Random& random) const {
    float largest = 0;
    for (std::size_t i = 0; i < book_.num_points() * dimensions_; ++i)
      largest = std::max(largest, std::fabs(book_.point(0)[i]));
    std::vector<float> target(dimensions_);
    for (float& value : target)
      value = random.uniform() < 0.1 ? 0.0f : 0.6f * largest * static_cast<float>(random.normal());
    return target;
  }
};

TEST_P(Codebooks, HoldTheArraysOfGgml) {
  const auto bytes = golden::read_bytes(std::string("grids/") + GetParam().name + ".bin");
  ASSERT_EQ(book_.num_points(), GetParam().num_points);
  ASSERT_EQ(bytes.size(), book_.num_points() * dimensions_);
  for (std::size_t i = 0; i < bytes.size(); ++i)
    ASSERT_EQ(book_.point(0)[i], static_cast<float>(static_cast<signed char>(bytes[i]))) << i;
}

TEST_P(Codebooks, NearestIsTheBestOfAll) {
  Random random(21);
  for (int repetition = 0; repetition < 12; ++repetition) {
    const auto target = random_target(random);
    std::vector<float> weights(dimensions_, 1.0f);
    if (repetition % 2 != 0)
      for (float& weight : weights) weight = static_cast<float>(std::exp(2 * random.normal()));
    const auto error_of = [&](std::uint32_t index, std::uint32_t negative) {
      double error = 0;
      for (std::size_t j = 0; j < dimensions_; ++j)
        error += weights[j] * std::pow(target[j] - coordinate(index, negative, j), 2);
      return error;
    };
    double best = HUGE_VAL;
    for_all([&](std::uint32_t index, std::uint32_t negative) { best = std::min(best, error_of(index, negative)); });
    const auto choice = book_.nearest(target.data(), repetition % 2 != 0 ? weights.data() : nullptr, signs_, shift_);
    EXPECT_LE(error_of(choice.index, choice.negative), best * (1 + 1e-5));
    EXPECT_NEAR(choice.error, best, 1e-5 * best);
    const bool odd = std::popcount(choice.negative) % 2 != 0;
    EXPECT_FALSE((signs_ == Signs::even && odd) || (signs_ == Signs::odd && !odd) ||
                 (signs_ == Signs::none && choice.negative != 0));
  }
}

TEST_P(Codebooks, NearestInAMetricIsTheBestOfAll) {
  Random random(22);
  for (int repetition = 0; repetition < 3; ++repetition) {
    const auto target = random_target(random);
    const std::size_t n = dimensions_;
    // A A' with a strong common direction, as second moments of activations have.
    std::vector<double> a(n * (n + 1));
    for (double& value : a) value = random.normal();
    for (std::size_t i = 0; i < n; ++i) a[i * (n + 1)] *= 3;
    std::vector<float> metric(n * n, 0.0f);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t j = 0; j < n; ++j)
        for (std::size_t k = 0; k <= n; ++k)
          metric[i * n + j] += static_cast<float>(a[i * (n + 1) + k] * a[j * (n + 1) + k]);
    const auto error_of = [&](std::uint32_t index, std::uint32_t negative) {
      double e[kMaxUnit], error = 0;
      for (std::size_t j = 0; j < n; ++j) e[j] = target[j] - coordinate(index, negative, j);
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < n; ++j) error += e[i] * metric[i * n + j] * e[j];
      return error;
    };
    double best = HUGE_VAL;
    for_all([&](std::uint32_t index, std::uint32_t negative) { best = std::min(best, error_of(index, negative)); });
    const MetricChoice choice = nearest_in_metric(book_, 1, target.data(), metric.data(), signs_, shift_);
    EXPECT_LE(error_of(choice.index[0], choice.negative), best * (1 + 1e-3));
  }
}

INSTANTIATE_TEST_SUITE_P(Grids, Codebooks, testing::ValuesIn(kBooks),
                         [](const auto& param) { return std::string(param.param.name); });

// Through the format: a metric that is the identity chooses as no metric does, and any metric chooses at least as well
// by its measure.
class VectorFormats : public testing::TestWithParam<const char*> {};

TEST_P(VectorFormats, MetricsChooseByTheirMeasure) {
  const FormatPtr format = find_format(GetParam());
  const std::size_t unit = format->info().unit;
  Random random(23);
  std::vector<float> x(256);
  for (float& value : x) value = 0.02f * static_cast<float>(random.normal());
  std::vector<std::byte> grid(format->grid_bytes());
  format->fit(x, {}, nullptr, 0, FitOptions{}, grid.data());
  std::vector<float> identity(unit * unit, 0.0f), metric(unit * unit, 0.0f), point(unit);
  std::vector<double> a(unit * unit);
  for (double& value : a) value = random.normal();
  for (std::size_t i = 0; i < unit; ++i) {
    identity[i * unit + i] = 1;
    for (std::size_t j = 0; j < unit; ++j)
      for (std::size_t k = 0; k < unit; ++k)
        metric[i * unit + j] += static_cast<float>(a[i * unit + k] * a[j * unit + k]);
  }
  const auto error_of = [&](std::size_t column, Code code, const std::vector<float>& measure) {
    format->value(grid.data(), column, code, point.data());
    double error = 0;
    for (std::size_t i = 0; i < unit; ++i)
      for (std::size_t j = 0; j < unit; ++j)
        error += static_cast<double>(x[column + i] - point[i]) * measure[i * unit + j] *
                 static_cast<double>(x[column + j] - point[j]);
    return error;
  };
  double plain = 0, measured = 0;
  for (std::size_t column = 0; column < 256; column += unit) {
    const Code nearest = format->nearest(grid.data(), column, &x[column], nullptr);
    const Code by_identity = format->nearest(grid.data(), column, &x[column], identity.data());
    const Code by_metric = format->nearest(grid.data(), column, &x[column], metric.data());
    ASSERT_LT(nearest, format->num_codes());
    ASSERT_LT(by_metric, format->num_codes());
    EXPECT_NEAR(error_of(column, nearest, identity), error_of(column, by_identity, identity),
                1e-5 * error_of(column, nearest, identity));
    EXPECT_LE(error_of(column, by_metric, metric), error_of(column, nearest, metric) * (1 + 1e-3));
    plain += error_of(column, nearest, metric);
    measured += error_of(column, by_metric, metric);
  }
  EXPECT_LT(measured, 0.8 * plain);
}

INSTANTIATE_TEST_SUITE_P(Formats, VectorFormats,
                         testing::Values("iq3_s", "iq3_xxs", "iq2_s", "iq2_xs", "iq2_xxs", "iq1_m", "iq1_s"),
                         [](const auto& param) { return std::string(param.param); });

}  // namespace
}  // namespace nibble
