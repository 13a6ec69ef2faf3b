// SPDX-License-Identifier: Apache-2.0
#include "format/golden_data.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <span>

#include "format/format_printer.h"
#include "format/quantized_tensor.h"

namespace nibble {

namespace {

using golden::kCols;
using golden::kRows;

std::vector<FormatPtr> block_formats() {
  std::vector<FormatPtr> formats;
  for (const FormatPtr& format : list_formats())
    if (format->info().kind == FormatKind::block) formats.push_back(format);
  return formats;
}

std::string test_name(const testing::TestParamInfo<FormatPtr>& info) { return info.param->name(); }

QuantizedTensor encode(const FormatPtr& format, std::span<const float> x, std::span<const float> importance,
                       FitRule rule) {
  QuantizedTensor tensor(format, kRows, kCols);
  for (std::uint64_t i = 0; i < kRows; ++i)
    format->encode_row(x.subspan(i * kCols, kCols), importance, nullptr, i, FitOptions{.rule = rule}, tensor.row(i));
  return tensor;
}

// One squared error per row, weighted when an importance is given.
std::vector<double> row_errors(std::span<const float> x, std::span<const float> y, std::span<const float> importance) {
  std::vector<double> errors(kRows, 0.0);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double error = static_cast<double>(x[i]) - static_cast<double>(y[i]);
    errors[i / kCols] += (importance.empty() ? 1.0 : static_cast<double>(importance[i % kCols])) * error * error;
  }
  return errors;
}

class GoldenBlocks : public testing::TestWithParam<FormatPtr> {
 protected:
  const FormatPtr format_ = GetParam();
  const std::string stem_ = golden::file_stem(format_->name());
  const std::vector<float> input_ = golden::read_floats("input.f32");
  const std::vector<float> importance_ = golden::read_floats("importance.f32");

  std::vector<float> decode(const std::vector<std::byte>& bytes) const {
    return make_view(format_, kRows, kCols, {std::span(bytes)}, format_->name()).decode();
  }
};

TEST_P(GoldenBlocks, DecodesToTheReferenceBits) {
  const auto decoded = decode(golden::read_bytes(stem_ + ".plain"));
  const auto expected = golden::read_floats(stem_ + ".decoded.f32");
  ASSERT_EQ(decoded.size(), expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i)
    ASSERT_EQ(std::memcmp(&decoded[i], &expected[i], sizeof(float)), 0)
        << "element " << i << ": " << decoded[i] << " is not " << expected[i];
}

TEST_P(GoldenBlocks, UnitValuesAreWhatRowsDecodeTo) {
  const auto bytes = golden::read_bytes(stem_ + ".weighted");
  const QuantizedView view = make_view(format_, kRows, kCols, {std::span(bytes)}, format_->name());
  const std::vector<float> expected = view.decode();
  const std::size_t unit = format_->info().unit, span = format_->info().span;
  std::vector<std::byte> grid(format_->grid_bytes());
  std::vector<Code> codes(span / unit);
  std::vector<float> value(unit);
  for (std::uint64_t row = 0; row < kRows; ++row) {
    for (std::size_t index = 0; index < kCols / span; ++index) {
      format_->unpack(view.row(row), index, span, nullptr, row, grid.data(), codes.data());
      for (std::size_t i = 0; i < span; ++i) {
        ASSERT_LT(codes[i / unit], format_->num_codes());
        if (i % unit == 0) format_->value(grid.data(), i, codes[i / unit], value.data());
        ASSERT_EQ(value[i % unit], expected[row * kCols + index * span + i])
            << "row " << row << ", column " << index * span + i;
      }
    }
  }
}

TEST_P(GoldenBlocks, PackingWhatWasUnpackedGivesTheSameBytes) {
  const auto bytes = golden::read_bytes(stem_ + ".plain");
  const QuantizedView view = make_view(format_, kRows, kCols, {std::span(bytes)}, format_->name());
  QuantizedTensor copy(format_, kRows, kCols);
  const std::size_t span = format_->info().span;
  std::vector<std::byte> grid(format_->grid_bytes());
  std::vector<Code> codes(span / format_->info().unit);
  for (std::uint64_t row = 0; row < kRows; ++row) {
    for (std::size_t index = 0; index < kCols / span; ++index) {
      format_->unpack(view.row(row), index, span, nullptr, row, grid.data(), codes.data());
      format_->pack(grid.data(), codes.data(), index, span, copy.row(row));
    }
  }
  EXPECT_EQ(copy.planes[0], bytes);
}

TEST_P(GoldenBlocks, SearchIsNeverWorseThanTheReference) {
  const auto plain = row_errors(input_, decode(golden::read_bytes(stem_ + ".plain")), {});
  const auto ours = row_errors(input_, encode(format_, input_, {}, FitRule::search).view().decode(), {});
  const auto weighted = row_errors(input_, decode(golden::read_bytes(stem_ + ".weighted")), importance_);
  const auto ours_weighted =
      row_errors(input_, encode(format_, input_, importance_, FitRule::search).view().decode(), importance_);
  for (std::uint64_t row = 0; row < kRows; ++row) {
    EXPECT_LE(ours[row], plain[row]) << "row " << row;
    EXPECT_LE(ours_weighted[row], weighted[row]) << "weighted, row " << row;
  }
  double sum = 0, sum_reference = 0, sum_weighted = 0, sum_weighted_reference = 0;
  for (std::uint64_t row = 0; row < kRows; ++row) {
    sum += ours[row];
    sum_reference += plain[row];
    sum_weighted += ours_weighted[row];
    sum_weighted_reference += weighted[row];
  }
  RecordProperty("error_ratio", std::to_string(sum / sum_reference));
  RecordProperty("weighted_error_ratio", std::to_string(sum_weighted / sum_weighted_reference));
  std::printf("%-8s squared error / reference's: plain %.4f, weighted %.4f\n", format_->name().c_str(),
              sum / sum_reference, sum_weighted / sum_weighted_reference);
}

INSTANTIATE_TEST_SUITE_P(Formats, GoldenBlocks, testing::ValuesIn(block_formats()), test_name);

// FitRule::absmax (for the types with an offset: minmax, the same thing there) is the reference's own rounding.
class GoldenRounding : public testing::TestWithParam<const char*> {};

TEST_P(GoldenRounding, EncodesToTheReferenceBytes) {
  const std::string name = GetParam();
  const auto input = golden::read_floats("input.f32");
  const auto expected = golden::read_bytes(name + ".plain");
  for (const FitRule rule : {FitRule::absmax, FitRule::minmax}) {
    const QuantizedTensor tensor = encode(find_format(name), input, {}, rule);
    ASSERT_EQ(tensor.planes[0].size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) ASSERT_EQ(tensor.planes[0][i], expected[i]) << "byte " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, GoldenRounding,
                         testing::Values("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "tq1_0", "tq2_0", "mxfp4", "nvfp4",
                                         "q1_0", "q2_0"),
                         [](const auto& param) { return std::string(param.param); });

}  // namespace
}  // namespace nibble
