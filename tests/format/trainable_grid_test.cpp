// SPDX-License-Identifier: Apache-2.0
#include "format/trainable_grid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/random.h"
#include "format/format_printer.h"
#include "format/planar/format.h"
#include "format/quantized_tensor.h"
#include "format/row_tiles.h"

namespace nibble {
namespace {

// One span of normal numbers on the grid that is found for it.
class TrainableGrids : public testing::TestWithParam<FormatPtr> {
 protected:
  void SetUp() override {
    format_ = GetParam();
    free_ = find_trainable_grid(*format_);
    ASSERT_NE(free_, nullptr);
    columns_ = 4 * std::lcm<std::size_t>(format_->info().span == 0 ? 96 : format_->info().span, 8);
    span_ = format_->info().span == 0 ? columns_ : format_->info().span;
    Random random(21);
    std::vector<float> x(format_->info().row_unit * columns_);
    for (std::size_t i = 0; i < x.size();
         ++i)  // spans of unlike spread, or scales of scales have nothing to tell apart
      x[i] = static_cast<float>(0.05 * random.normal() * static_cast<double>(1 + i % columns_ / span_));
    tensor_grid_ = format_->prepare(x, format_->info().row_unit, columns_, {}, {});
    grid_.resize(format_->grid_bytes());
    format_->fit(std::span(x).first(span_), {}, tensor_grid_.get(), 0, {}, grid_.data());
    for (std::size_t i = 0; i < span_; i += format_->info().unit)
      codes_.push_back(format_->nearest(grid_.data(), i, &x[i], nullptr));
  }

  std::vector<float> values_on(const std::vector<std::byte>& grid) const {
    std::vector<float> values(span_);
    for (std::size_t i = 0; i < span_; i += format_->info().unit)
      format_->value(grid.data(), i, codes_[i / format_->info().unit], &values[i]);
    return values;
  }
  std::vector<float> parameters_of(const std::vector<std::byte>& grid) const {
    std::vector<float> numbers(free_->num_parameters());
    free_->parameters(grid.data(), numbers.data());
    return numbers;
  }
  std::vector<std::byte> stored(const std::vector<float>& numbers) const {
    std::vector<std::byte> grid = grid_;
    free_->store(numbers.data(), grid.data());
    return grid;
  }
  // The row's bytes with this grid, and the grid read from them.
  std::vector<std::byte> through_bytes(const std::vector<std::byte>& grid) const {
    QuantizedTensor tensor(format_, format_->info().row_unit, columns_);
    const RowPlanes row = tensor.row(0);
    if (tensor_grid_) format_->pack_tensor(tensor_grid_.get(), row);
    format_->pack(grid.data(), codes_.data(), 0, span_, row);
    std::vector<std::byte> read(grid.size());
    std::vector<Code> codes(codes_.size());
    format_->unpack(tensor.view().row(0), 0, span_, tensor_grid_.get(), 0, read.data(), codes.data());
    EXPECT_EQ(codes, codes_);
    return read;
  }
  // Whether grids lie with the codes of a row, not with the whole tensor.
  bool has_own_grids() const {
    const PlanarSpec* const spec = find_planar_spec(*format_);
    return spec == nullptr || (spec->grain != PlanarGrain::tensor && spec->grain != PlanarGrain::block);
  }

  FormatPtr format_;
  const TrainableGrid* free_ = nullptr;
  std::size_t columns_ = 0, span_ = 0;
  std::unique_ptr<TensorGrid> tensor_grid_;
  std::vector<std::byte> grid_;
  std::vector<Code> codes_;
};

TEST_P(TrainableGrids, StoringWhatIsThereChangesNothing) {
  const std::vector<float> numbers = parameters_of(grid_);
  const std::vector<std::byte> again = stored(numbers);
  EXPECT_EQ(parameters_of(again), numbers);
  EXPECT_EQ(values_on(again), values_on(grid_));
}

// Each number is moved by itself to another that can be stored: values are linear in it.
TEST_P(TrainableGrids, SlopesAreDifferences) {
  const std::vector<float> numbers = parameters_of(grid_), values = values_on(grid_);
  std::vector<float> slopes(numbers.size() * span_);
  free_->slopes(grid_.data(), numbers.data(), codes_.data(), span_, slopes.data());
  double largest = 0;
  for (const float value : values) largest = std::max(largest, static_cast<double>(std::fabs(value)));
  for (std::size_t p = 0; p < numbers.size(); ++p) {
    std::vector<float> other = numbers;
    const bool is_zero_point =
        find_planar_spec(*format_) != nullptr && find_planar_spec(*format_)->is_asymmetric && p == 1;
    // Doubled, or zero points moved by one towards the middle of their range.
    other[p] = !is_zero_point ? 2 * other[p] : other[p] > 0 ? other[p] - 1 : other[p] + 1;
    const std::vector<std::byte> moved = stored(other);
    const float step = parameters_of(moved)[p] - numbers[p];
    if (numbers[p] != 0 || is_zero_point) {
      ASSERT_NE(step, 0.0f) << "parameter " << p;
    }
    const std::vector<float> after = values_on(moved);
    bool has_slope = false;
    for (std::size_t i = 0; i < span_; ++i) {
      const double expected = static_cast<double>(slopes[p * span_ + i]) * static_cast<double>(step);
      // Products and sums of few numbers no larger than the largest value, each rounded to f32.
      ASSERT_NEAR(static_cast<double>(after[i] - values[i]), expected, 8 * 0x1p-24 * largest) << "column " << i;
      has_slope = has_slope || slopes[p * span_ + i] != 0;
    }
    EXPECT_TRUE(has_slope || find_planar_spec(*format_) != nullptr) << "parameter " << p;
  }
}

// Halfway between what can be stored, too.
TEST_P(TrainableGrids, ValuesFollowTheirSlopes) {
  std::vector<float> numbers = parameters_of(grid_);
  std::vector<float> values(span_), slopes(numbers.size() * span_);
  free_->values(grid_.data(), numbers.data(), codes_.data(), span_, values.data());
  const std::vector<float> stored = values_on(grid_);
  double largest = 0;
  for (const float value : stored) largest = std::max(largest, static_cast<double>(std::fabs(value)));
  for (std::size_t i = 0; i < span_; ++i)
    ASSERT_NEAR(static_cast<double>(values[i]), static_cast<double>(stored[i]), 4 * 0x1p-24 * largest);
  for (std::size_t p = 0; p < numbers.size(); ++p) {
    free_->slopes(grid_.data(), numbers.data(), codes_.data(), span_, slopes.data());
    const float before = numbers[p];
    numbers[p] = 1.37f * before + 0.003f;
    std::vector<float> after(span_);
    free_->values(grid_.data(), numbers.data(), codes_.data(), span_, after.data());
    const double step = static_cast<double>(numbers[p]) - static_cast<double>(before);
    for (std::size_t i = 0; i < span_; ++i) {
      const double expected = static_cast<double>(slopes[p * span_ + i]) * step,
                   scale = std::fabs(static_cast<double>(values[i])) + std::fabs(expected) + largest;
      ASSERT_NEAR(static_cast<double>(after[i]) - static_cast<double>(values[i]), expected, 8 * 0x1p-24 * scale)
          << "parameter " << p << ", column " << i;
    }
    numbers[p] = before;
  }
}

TEST_P(TrainableGrids, WhatIsStoredIsExactlyStorable) {
  if (!has_own_grids()) return;
  for (const float factor : {0.7f, 1.1f, -1.0f, 0.0f, 1e-30f, 1e30f}) {
    std::vector<float> numbers = parameters_of(grid_);
    for (float& number : numbers) number *= factor;
    const std::vector<std::byte> grid = stored(numbers), read = through_bytes(grid);
    EXPECT_EQ(parameters_of(read), parameters_of(grid)) << factor;
    EXPECT_EQ(values_on(read), values_on(grid)) << factor;
    for (const float value : values_on(grid)) ASSERT_TRUE(std::isfinite(value)) << factor;
    QuantizedTensor tensor(format_, format_->info().row_unit, columns_);
    if (tensor_grid_) format_->pack_tensor(tensor_grid_.get(), tensor.row(0));
    format_->pack(grid.data(), codes_.data(), 0, span_, tensor.row(0));
    EXPECT_EQ(format_->find_defect(tensor.view().row(0), columns_), std::nullopt) << factor;
  }
}

std::vector<FormatPtr> formats_with_grids() {
  std::vector<FormatPtr> formats = list_formats();
  std::erase_if(formats, [](const FormatPtr& format) {
    // Rows coded together: trained_matrix_test has them.
    return format->info().kind == FormatKind::raw || find_row_tiles(*format) != nullptr;
  });
  return formats;
}

std::string test_name(const testing::TestParamInfo<FormatPtr>& info) {
  std::string name = info.param->name();
  std::replace(name.begin(), name.end(), ':', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Formats, TrainableGrids, testing::ValuesIn(formats_with_grids()), test_name);

// What is known of single formats without asking them.
TEST(TrainableGrid, SlopesOfKnownFormats) {
  const auto slopes_of = [](std::string_view name, const std::vector<float>& x) {
    const FormatPtr format = find_format(name);
    const TrainableGrid& free = *find_trainable_grid(*format);
    std::vector<std::byte> grid(format->grid_bytes());
    format->fit(x, {}, nullptr, 0, {.rule = FitRule::absmax}, grid.data());
    std::vector<Code> codes;
    for (std::size_t i = 0; i < x.size(); ++i) codes.push_back(format->nearest(grid.data(), i, &x[i], nullptr));
    std::vector<float> slopes(free.num_parameters() * x.size());
    std::vector<float> numbers(free.num_parameters());
    free.parameters(grid.data(), numbers.data());
    free.slopes(grid.data(), numbers.data(), codes.data(), x.size(), slopes.data());
    return slopes;
  };
  EXPECT_EQ(slopes_of("int4:row", {-7.5f, 7.5f, 1.0f, 0.0f}), (std::vector<float>{-8, 7, 1, 0}));
  EXPECT_EQ(slopes_of("int2:row:half", {-1.5f, 1.5f, 0.5f}), (std::vector<float>{-1.5f, 1.5f, 0.5f}));
  EXPECT_EQ(slopes_of("int4:row:asym", {15.0f, 12.0f, 0.0f}), (std::vector<float>{15, 12, 0, -1, -1, -1}));
  EXPECT_EQ(slopes_of("int4:row:bias:f32", {17.0f, 2.0f}), (std::vector<float>{15, 0, 1, 1}));
  EXPECT_EQ(slopes_of("ternary:row", {2.0f, -2.0f, 0.1f}), (std::vector<float>{1, -1, 0}));
  EXPECT_EQ(slopes_of("binary:row", {2.0f, -2.0f}), (std::vector<float>{1, -1}));
  EXPECT_EQ(slopes_of("table2:row", {0.0f, 1.0f, 2.0f, 3.0f}),
            (std::vector<float>{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}));
}

TEST(TrainableGrid, ElementsInFloatingPointHaveNone) {
  EXPECT_EQ(find_trainable_grid(*find_format("f32")), nullptr);
  EXPECT_EQ(find_trainable_grid(*find_format("bf16")), nullptr);
}

}  // namespace
}  // namespace nibble
