// SPDX-License-Identifier: Apache-2.0
#include "format/tensor_parts.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <numeric>

#include "base/random.h"
#include "format/quantized_tensor.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::size_t kRows = 8, kCols = 12;

std::vector<float> random_values(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(random.normal());
  return values;
}

std::vector<std::int8_t> random_signs(std::size_t count, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::int8_t> signs(count);
  for (auto& sign : signs) sign = random.below(2) == 0 ? std::int8_t{1} : std::int8_t{-1};
  return signs;
}

// Outliers at (1, 0), (1, 11), (4, 5), (7, 3).
SparseOutliers some_outliers() { return {{0, 2, 2, 2, 3, 3, 3, 4}, {0, 11, 5, 3}, {9.5f, -8.25f, 7.0f, -6.0f}}; }

TensorParts all_parts() {
  TensorParts parts;
  parts.input_order = {3, 0, 7, 1, 11, 2, 10, 4, 9, 5, 8, 6};
  parts.outliers = some_outliers();
  parts.input_transform = {4, random_signs(kCols, 1)};
  parts.output_transform = {8, random_signs(kRows, 2)};
  parts.tensor_scale = 0.75f;
  return parts;
}

QuantizedTensor random_tensor(std::string_view format_name, std::uint64_t seed) {
  const FormatPtr format = find_format(format_name);
  const auto x = random_values(kRows * kCols, seed);
  QuantizedTensor tensor(format, kRows, kCols);
  for (std::size_t r = 0; r < kRows; ++r)
    format->encode_row(std::span(x).subspan(r * kCols, kCols), {}, nullptr, r, {}, tensor.row(r));
  return tensor;
}

using Matrix = std::vector<std::vector<double>>;

Matrix product(const Matrix& a, const Matrix& b) {
  Matrix c(a.size(), std::vector<double>(b[0].size()));
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t j = 0; j < b[0].size(); ++j)
      for (std::size_t k = 0; k < b.size(); ++k) c[i][j] += a[i][k] * b[k][j];
  return c;
}

// T = H D as a whole matrix: entry (i, j) of Sylvester's H is -1 to the number of bits that i and j share.
Matrix matrix_of(const ChannelTransform& transform, std::size_t channels) {
  Matrix t(channels, std::vector<double>(channels));
  for (std::size_t i = 0; i < channels; ++i)
    for (std::size_t j = 0; j < channels; ++j) {
      if (i / transform.size != j / transform.size) continue;
      const double sign = std::popcount((i % transform.size) & (j % transform.size)) % 2 == 0 ? 1 : -1;
      t[i][j] = sign / std::sqrt(transform.size) * (transform.signs.empty() ? 1 : transform.signs[j]);
    }
  return t;
}

Matrix transposed(const Matrix& a) {
  Matrix t(a[0].size(), std::vector<double>(a.size()));
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t j = 0; j < a[0].size(); ++j) t[j][i] = a[i][j];
  return t;
}

// The definition, in whole matrices: columns back to their inputs, then both changes of basis.
TEST(TensorParts, DecodeAppliesThemInOrder) {
  QuantizedTensor tensor = random_tensor("int4:g4:bias", 3);
  const std::vector<float> coded = tensor.view().decode();
  const TensorParts parts = all_parts();
  tensor.parts = std::make_shared<TensorParts>(parts);

  Matrix values(kRows, std::vector<double>(kCols)), permutation(kCols, std::vector<double>(kCols));
  for (std::size_t i = 0; i < coded.size(); ++i) values[i / kCols][i % kCols] = static_cast<double>(coded[i]);
  values[1][0] = 9.5;
  values[1][11] = -8.25;
  values[4][5] = 7;
  values[7][3] = -6;
  for (std::size_t c = 0; c < kCols; ++c) permutation[c][parts.input_order[c]] = 0.75;
  const Matrix expected = product(transposed(matrix_of(parts.output_transform, kRows)),
                                  product(product(values, permutation), matrix_of(parts.input_transform, kCols)));
  const std::vector<float> decoded = tensor.view().decode();
  for (std::size_t i = 0; i < decoded.size(); ++i)
    EXPECT_NEAR(static_cast<double>(decoded[i]), expected[i / kCols][i % kCols], 1e-5) << i;
  std::vector<float> row(kCols);
  EXPECT_THROW(tensor.view().decode_row(0, row), Error);  // rows are mixed
}

TEST(TensorParts, RowsDecodeByThemselvesWithoutAnOutputTransform) {
  QuantizedTensor tensor = random_tensor("int8:row", 4);
  TensorParts parts = all_parts();
  parts.output_transform = {};
  tensor.parts = std::make_shared<TensorParts>(parts);
  const QuantizedView view = tensor.view();
  const std::vector<float> whole = view.decode();
  std::vector<float> row(kCols);
  for (std::size_t r = 0; r < kRows; ++r) {
    view.decode_row(r, row);
    EXPECT_EQ(row, std::vector<float>(whole.begin() + static_cast<std::ptrdiff_t>(r * kCols),
                                      whole.begin() + static_cast<std::ptrdiff_t>((r + 1) * kCols)));
  }
  EXPECT_EQ(view_of_rows(view, 3, 4).decode(),
            std::vector<float>(whole.begin() + 3 * kCols, whole.begin() + 7 * kCols));
}

TEST(TensorParts, OutliersAreExact) {
  QuantizedTensor tensor = random_tensor("int2:g4", 5);
  TensorParts parts;
  parts.outliers = some_outliers();
  tensor.parts = std::make_shared<TensorParts>(parts);
  const std::vector<float> decoded = tensor.view().decode();
  EXPECT_EQ(decoded[1 * kCols + 0], 9.5f);
  EXPECT_EQ(decoded[1 * kCols + 11], -8.25f);
  EXPECT_EQ(decoded[4 * kCols + 5], 7.0f);
  EXPECT_EQ(decoded[7 * kCols + 3], -6.0f);
}

TEST(TensorParts, AreNamedWhereTheyAreRefused) {
  const QuantizedTensor plain = random_tensor("int8:row", 6);
  EXPECT_TRUE(parts_of(plain.view()).empty());
  EXPECT_NO_THROW(require_only(parts_of(plain.view()), {}, "a", "b"));
  const TensorParts parts = all_parts();
  EXPECT_EQ(parts_of(parts),
            (std::vector<TensorPart>{TensorPart::input_order, TensorPart::sparse_outliers, TensorPart::input_transform,
                                     TensorPart::output_transform, TensorPart::tensor_scale}));
  try {
    require_only(parts_of(parts), {TensorPart::tensor_scale, TensorPart::input_order}, "a GGUF file", "tensor 'w'");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    EXPECT_STREQ(error.what(),
                 "tensor 'w' has what a GGUF file cannot have: sparse outliers, input transform, output transform");
  }
  EXPECT_EQ(parts_of(QuantizedTensor(find_format("int8:block8x8"), 8, 8).view()),
            std::vector<TensorPart>{TensorPart::row_tile});
}

TEST(TensorParts, DefectsAreFound) {
  EXPECT_EQ(find_parts_defect({}, kRows, kCols), std::nullopt);
  EXPECT_EQ(find_parts_defect(all_parts(), kRows, kCols), std::nullopt);
  const auto defect_of = [](auto damage) {
    TensorParts parts = all_parts();
    damage(parts);
    return find_parts_defect(parts, kRows, kCols).value_or("none");
  };
  EXPECT_EQ(defect_of([](TensorParts& p) { p.input_order.pop_back(); }),
            "the input order should name every column once");
  EXPECT_EQ(defect_of([](TensorParts& p) { p.input_order[2] = 3; }),
            "the input order names an input that is not there or twice at column 2");
  EXPECT_EQ(defect_of([](TensorParts& p) { p.input_order[2] = kCols; }),
            "the input order names an input that is not there or twice at column 2");
  EXPECT_EQ(defect_of([](TensorParts& p) { p.outliers.values.pop_back(); }),
            "the outliers should have an end for every row and a value for every column");
  EXPECT_EQ(defect_of([](TensorParts& p) { p.outliers.row_ends[1] = 5; }), "the outliers' rows overlap at row 1");
  EXPECT_EQ(defect_of([](TensorParts& p) { p.outliers.row_ends[3] = 1; }), "the outliers' rows overlap at row 3");
  EXPECT_EQ(defect_of([](TensorParts& p) { p.outliers.row_ends[7] = 3; }), "there are outliers behind the last row");
  EXPECT_EQ(defect_of([](TensorParts& p) { p.outliers.columns[1] = 0; }),
            "the outliers' columns are not ascending or not there at row 1");
  EXPECT_EQ(defect_of([](TensorParts& p) { p.outliers.columns[1] = kCols; }),
            "the outliers' columns are not ascending or not there at row 1");
  EXPECT_EQ(defect_of([](TensorParts& p) { p.outliers.values[2] = std::nanf(""); }),
            "an outlier is not finite at row 4");
  EXPECT_EQ(defect_of([](TensorParts& p) { p.input_transform.size = 8; }),
            "the input transform should have a power of two that divides 12 channels: hadamard8");
  EXPECT_EQ(defect_of([](TensorParts& p) { p.input_transform.size = 3; }),
            "the input transform should have a power of two that divides 12 channels: hadamard3");
  EXPECT_EQ(defect_of([](TensorParts& p) { p.output_transform.size = 0; }),
            "the output transform has signs and no size");
  EXPECT_EQ(defect_of([](TensorParts& p) { p.output_transform.signs.pop_back(); }),
            "the output transform should have a sign for every channel");
  EXPECT_EQ(defect_of([](TensorParts& p) { p.output_transform.signs[3] = 0; }),
            "the output transform has a sign that is neither 1 nor -1");
  for (const float scale : {0.0f, -1.0f, std::nanf(""), INFINITY})
    EXPECT_EQ(defect_of([&](TensorParts& p) { p.tensor_scale = scale; }), "the tensor scale is not a positive number");
}

TEST(TensorParts, TransformsHaveNames) {
  EXPECT_EQ((ChannelTransform{128, {}}.name()), "hadamard128");
  EXPECT_EQ(parse_transform("hadamard128"), 128u);
  for (const char* name :
       {"", "hadamard", "hadamard0", "hadamard-1", "hadamard08", "hadamard8x", "hadamard99999999999", "fourier8"})
    EXPECT_EQ(parse_transform(name), std::nullopt) << name;
}

}  // namespace
}  // namespace nibble
