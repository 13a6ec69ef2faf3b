// SPDX-License-Identifier: Apache-2.0
#include "quantize/output_error.h"
#include "kernels/chosen_isa.h"

#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "format/quantized_tensor.h"
#include "quantize/quantize_linear.h"

namespace nibble {
namespace {

constexpr std::size_t kCols = 64, kRows = 10;

struct Problem {
  SiteStatistics site;
  std::vector<float> weights, stored, inputs;
  Problem() {
    Random random(3);
    constexpr std::size_t kVectors = 200;
    for (std::size_t i = 0; i < kVectors * kCols; ++i)
      inputs.push_back(static_cast<float>(random.normal() * (i % 7 == 0 ? 3 : 1)));
    site.count = kVectors;
    site.second_moment.resize(kCols * kCols);
    for (std::size_t t = 0; t < kVectors; ++t)
      for (std::size_t i = 0; i < kCols; ++i)
        for (std::size_t j = 0; j < kCols; ++j)
          site.second_moment[i * kCols + j] += inputs[t * kCols + i] * inputs[t * kCols + j] / kVectors;
    for (std::size_t i = 0; i < kCols; ++i) site.mean_square.push_back(site.second_moment[i * kCols + i]);
    for (std::size_t i = 0; i < kRows * kCols; ++i) {
      weights.push_back(static_cast<float>(random.normal()));
      stored.push_back(weights.back() + static_cast<float>(0.1 * random.normal()));
    }
  }
  // By multiplying: the mean square of (a - b) x over that of a x.
  double share(const std::vector<float>& a, const std::vector<float>& b) const {
    double lost = 0, whole = 0;
    for (std::size_t t = 0; t < site.count; ++t)
      for (std::size_t row = 0; row < kRows; ++row) {
        double y = 0, e = 0;
        for (std::size_t i = 0; i < kCols; ++i) {
          const double x = inputs[t * kCols + i];
          y += x * a[row * kCols + i];
          e += x * (double(a[row * kCols + i]) - b[row * kCols + i]);
        }
        whole += y * y;
        lost += e * e;
      }
    return lost / whole;
  }
  OutputError measure(const RoundedLinear& linear) const {
    Machine machine(chosen_isa(), 2);
    return measure_output_error(linear, find_format("int4:g32"), machine);
  }
};

TEST(OutputError, IsTheShareOfTheOutputsThatIsLost) {
  const Problem p;
  const OutputError error =
      p.measure({.site = &p.site, .weights = p.weights, .stored = p.stored, .original = p.weights, .rows = kRows});
  EXPECT_NEAR(error.stored, p.share(p.weights, p.stored), 1e-4 * error.stored);
  QuantizedTensor nearest(find_format("int4:g32"), kRows, kCols);
  for (std::size_t row = 0; row < kRows; ++row)
    nearest.format->encode_row(std::span(p.weights).subspan(row * kCols, kCols), {}, nullptr, row, {},
                               nearest.row(row));
  EXPECT_NEAR(error.nearest, p.share(p.weights, nearest.view().decode()), 1e-4 * error.nearest);
}

// What the whole matrix becomes is what single rows of it are measured by.
TEST(OutputError, NearestValuesKnowWhatBelongsToTheWholeTensor) {
  constexpr std::size_t kSide = 512;
  Random random(5);
  std::vector<float> x(kSide * kSide);
  for (float& value : x) value = static_cast<float>(random.normal());
  const QuantizedView view = make_view(find_format("f32"), kSide, kSide, {std::as_bytes(std::span(x))}, "x");
  Machine machine(chosen_isa(), 2);
  for (const char* name :
       {"int8:tensor", "int4:tensor:asym", "nf4:g64:dq", "int4:g32:s6", "int8:block128x128", "trellis2:l8"}) {
    const LinearTask task{
        .weights = {.values = view, .name = "x"}, .format = find_format(name), .method = find_method("rtn")};
    const QuantizedTensor stored = quantize_linear(task, machine);
    const std::vector<float> values = stored.view().decode();
    const OutputError error = measure_output_error(
        {.weights = x, .stored = values, .original = x, .rows = kSide, .tensor_grid = stored.tensor_grid.get()},
        task.format, machine);
    EXPECT_GT(error.stored, 0) << name;
    EXPECT_LT(error.stored, 0.2) << name;
    EXPECT_NEAR(error.nearest, error.stored, 1e-6 * error.stored) << name;
  }
}

TEST(OutputError, ScalesOfATransformDoNotChangeWhatNearestValuesLose) {
  const Problem p;
  std::vector<float> scales(kCols), scaled = p.weights;
  for (std::size_t i = 0; i < kCols; ++i) scales[i] = i % 2 == 0 ? 4.0F : 0.5F;
  for (std::size_t i = 0; i < scaled.size(); ++i) scaled[i] *= scales[i % kCols];
  SiteStatistics divided = p.site;
  for (std::size_t i = 0; i < kCols; ++i)
    for (std::size_t j = 0; j < kCols; ++j) divided.second_moment[i * kCols + j] /= scales[i] * scales[j];
  const OutputError plain =
      p.measure({.site = &p.site, .weights = p.weights, .stored = p.weights, .original = p.weights, .rows = kRows});
  const OutputError moved = p.measure({.site = &divided,
                                       .weights = scaled,
                                       .stored = scaled,
                                       .original = p.weights,
                                       .column_scales = scales,
                                       .rows = kRows});
  EXPECT_NEAR(moved.nearest, plain.nearest, 1e-4 * plain.nearest);
  EXPECT_EQ(plain.stored, 0);
}

TEST(OutputError, WithoutMomentsColumnsStandAlone) {
  const Problem p;
  SiteStatistics diagonal = p.site;
  diagonal.second_moment.clear();
  double lost = 0, whole = 0;
  for (std::size_t i = 0; i < p.weights.size(); ++i) {
    const double e = double(p.weights[i]) - p.stored[i], m = diagonal.mean_square[i % kCols];
    lost += e * e * m;
    whole += double(p.weights[i]) * p.weights[i] * m;
  }
  const OutputError error =
      p.measure({.site = &diagonal, .weights = p.weights, .stored = p.stored, .original = p.weights, .rows = kRows});
  EXPECT_NEAR(error.stored, lost / whole, 1e-4 * error.stored);
  const OutputError unknown =
      p.measure({.weights = p.weights, .stored = p.stored, .original = p.weights, .rows = kRows});
  EXPECT_NEAR(unknown.stored, 0.01, 0.002);
}

}  // namespace
}  // namespace nibble
