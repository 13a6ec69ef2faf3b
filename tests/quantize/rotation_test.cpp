// SPDX-License-Identifier: Apache-2.0
#include "quantize/transform/rotation.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "base/random.h"
#include "kernels/chosen_isa.h"
#include "quantize/model_free_matrix.h"
#include "quantize/quantize_linear.h"

namespace nibble {
namespace {

constexpr std::size_t kCols = 512, kRows = 96;

// T by its definition, [cols, cols].
std::vector<double> matrix_of(const ChannelTransform& transform, std::size_t cols) {
  std::vector<double> t(cols * cols);
  for (std::size_t i = 0; i < cols; ++i)
    for (std::size_t j = 0; j < cols; ++j) {
      if (i / transform.size != j / transform.size) continue;
      const int ones = std::popcount((i % transform.size) & (j % transform.size));
      t[i * cols + j] = (ones % 2 == 0 ? 1 : -1) * transform.signs[j] / std::sqrt(static_cast<double>(transform.size));
    }
  return t;
}

SiteStatistics some_site(std::size_t width, bool is_full) {
  Random random(9);
  SiteStatistics site;
  site.count = 4 * width;
  site.mean_square.resize(width);
  site.absmax.assign(width, 9);
  site.histogram.assign(kHistogramBins, 1);
  site.second_moment.resize(is_full ? width * width : 0);
  std::vector<float> x(width);
  for (std::size_t t = 0; t < site.count; ++t) {
    const double shared = random.normal();
    for (std::size_t i = 0; i < width; ++i)
      x[i] = static_cast<float>((random.normal() + shared) * (i % 50 == 7 ? 20 : 1) /
                                std::sqrt(4.0 * static_cast<double>(width)));
    for (std::size_t i = 0; i < width; ++i) site.mean_square[i] += x[i] * x[i];
    for (std::size_t i = 0; is_full && i < width; ++i)
      for (std::size_t j = 0; j < width; ++j) site.second_moment[i * width + j] += x[i] * x[j];
  }
  return site;
}

TEST(Rotation, BlocksAreTheLargestPowersOfTwoThatDivideTheColumns) {
  for (const auto& [cols, block] : std::vector<std::pair<std::uint64_t, std::uint32_t>>{
           {256, 256}, {768, 256}, {8192, 256}, {576, 64}, {1536, 256}, {896, 128}, {16, 16}, {4864, 256}, {48, 16}}) {
    const auto parts = rotation_of(cols);
    ASSERT_NE(parts, nullptr) << cols;
    EXPECT_EQ(parts->input_transform.size, block) << cols;
    EXPECT_EQ(find_parts_defect(*parts, 1, cols), std::nullopt);
    EXPECT_EQ(*parts, *rotation_of(cols));  // for every Linear that reads as many
    int sum = 0;
    for (const std::int8_t sign : parts->input_transform.signs) sum += sign;
    EXPECT_LT(std::abs(sum), 5 * std::sqrt(static_cast<double>(cols))) << cols;
  }
  for (const std::uint64_t cols : {8u, 100u, 24u, 1u}) EXPECT_EQ(rotation_of(cols), nullptr) << cols;
}

TEST(Rotation, MomentsAreThoseOfRotatedInputs) {
  const std::size_t n = 48;
  Machine machine(chosen_isa(), 2);
  const SiteStatistics site = some_site(n, true);
  const ChannelTransform transform = rotation_of(n)->input_transform;
  const std::vector<double> t = matrix_of(transform, n);
  const SiteStatistics seen = rotated(site, transform, machine);
  double largest = 0;
  for (const float value : site.second_moment) largest = std::max(largest, std::fabs(static_cast<double>(value)));
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < n; ++j) {
      double expected = 0;
      for (std::size_t a = 0; a < n; ++a)
        for (std::size_t b = 0; b < n; ++b)
          expected += t[i * n + a] * static_cast<double>(site.second_moment[a * n + b]) * t[j * n + b];
      ASSERT_NEAR(seen.second_moment[i * n + j], expected, 16 * 16 * 0x1p-23 * largest);
    }
  for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(seen.mean_square[i], seen.second_moment[i * n + i]);
  EXPECT_TRUE(seen.absmax.empty() && seen.histogram.empty());
  // Of mean squares alone: what a block has on average.
  const SiteStatistics means = rotated(some_site(n, false), transform, machine);
  for (std::size_t i = 0; i < n; ++i) {
    double sum = 0;
    for (std::size_t j = i / 16 * 16; j < i / 16 * 16 + 16; ++j) sum += static_cast<double>(site.mean_square[j]);
    EXPECT_NEAR(means.mean_square[i], sum / 16, 1e-5 * sum);
  }
}

// What is rounded for rotated inputs is read back as weights for those that come: nearly these, where codes are fine.
TEST(Rotation, WeightsComeBackAsTheyWere) {
  const QuantizedTensor source = random_matrix(kRows, kCols, 5);
  Machine machine(chosen_isa(), 2);
  const SiteStatistics site = some_site(kCols, true);
  for (const char* method : {"rtn", "imatrix", "gptq", "descent"})
    for (const char* format : {"int8:row", "int8:g128", "q8_0"}) {
      LinearTask task{.weights = {.values = source.view(), .name = "t"},
                      .format = find_format(format),
                      .method = find_method(method),
                      .moments = {{.rows = {0, kRows}, .inputs = &site}},
                      .parts = rotation_of(kCols)};
      RoundPlans plans;
      const LinearQuantizer linear(task, plans, machine);
      QuantizedTensor whole = linear.encode({0, kRows});
      std::vector<float> stored(kRows * kCols);
      linear.decode(whole, 0, stored);
      whole.parts = task.parts;
      EXPECT_EQ(stored, whole.view().decode());  // as a reader of the file does
      const std::vector<float> weights = source.view().decode();
      double lost = 0, power = 0;
      for (std::size_t i = 0; i < stored.size(); ++i) {
        lost += std::pow(static_cast<double>(stored[i]) - weights[i], 2);
        power += std::pow(static_cast<double>(weights[i]), 2);
      }
      EXPECT_LT(lost / power, 1e-3) << method << ' ' << format;
      EXPECT_GT(lost, 0) << method << ' ' << format;
      // Bands have the bytes of the whole, on any number of threads.
      Machine one(chosen_isa(), 1);
      RoundPlans others;
      QuantizedTensor band = LinearQuantizer(task, others, one).encode({32, 64});
      for (std::uint64_t row = 0; row < band.rows; ++row)
        for (std::size_t p = 0; p < band.specs.size(); ++p)
          ASSERT_EQ(std::memcmp(band.row(row)[p], whole.row(32 + row)[p], band.specs[p].row_bytes), 0)
              << method << ' ' << format;
    }
}

double weighed_error(const SiteStatistics& site, std::span<const float> weights, std::span<const float> stored) {
  double total = 0;
  std::vector<double> e(kCols);
  for (std::size_t row = 0; row < kRows; ++row) {
    for (std::size_t i = 0; i < kCols; ++i)
      e[i] = static_cast<double>(weights[row * kCols + i]) - static_cast<double>(stored[row * kCols + i]);
    for (std::size_t i = 0; i < kCols; ++i)
      for (std::size_t j = 0; j < kCols; ++j)
        total += e[i] * static_cast<double>(site.second_moment[i * kCols + j]) * e[j];
  }
  return total;
}

// A few weights that are far larger than the rest take a row's only scale; rotated they do not. And what a rounder
// knows of inputs is what rotated weights meet: gptq gains on nearest values as it does without.
TEST(Rotation, SpreadsWhatIsLargeInAFewColumns) {
  Machine machine(chosen_isa(), 2);
  const SiteStatistics site = some_site(kCols, true);
  QuantizedTensor source = random_matrix(kRows, kCols, 5);
  std::vector<float> weights = source.view().decode();
  for (std::size_t row = 0; row < kRows; ++row) weights[row * kCols + row] *= 40;
  const auto error_of = [&](const char* method, const char* format, bool is_rotated) {
    QuantizedTensor matrix(find_format("f32"), kRows, kCols);
    std::memcpy(matrix.planes[0].data(), weights.data(), weights.size() * sizeof(float));
    LinearTask task{.weights = {.values = matrix.view(), .name = "t"},
                    .format = find_format(format),
                    .method = find_method(method),
                    .moments = {{.rows = {0, kRows}, .inputs = &site}}};
    if (is_rotated) task.parts = rotation_of(kCols);
    RoundPlans plans;
    const LinearQuantizer linear(task, plans, machine);
    std::vector<float> stored(kRows * kCols);
    linear.decode(linear.encode({0, kRows}), 0, stored);
    return weighed_error(site, weights, stored);
  };
  const double plain = error_of("rtn", "int4:row", false), turned = error_of("rtn", "int4:row", true);
  EXPECT_LT(turned, 0.5 * plain);
  EXPECT_LT(error_of("gptq", "int4:row", true), 0.6 * turned);
  EXPECT_LT(error_of("gptq", "trellis2:l8", true), 0.8 * error_of("gptq", "trellis2:l8", false));
}

}  // namespace
}  // namespace nibble
