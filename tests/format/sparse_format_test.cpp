// SPDX-License-Identifier: Apache-2.0
//
// Two of four weights: names, bytes that a mask and kept weights make, what is wrong with damaged ones, and the same
// numbers with codes for zeros.
#include "format/sparse_format.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "base/half.h"
#include "base/random.h"
#include "format/activation_format.h"
#include "format/encode_tensor.h"
#include "nibble/error.h"

namespace nibble {
namespace {

std::vector<float> normal_weights(std::size_t count) {
  Random random(3);
  std::vector<float> x(count);
  for (float& value : x) value = static_cast<float>(random.normal());
  return x;
}

std::string refusal_of(const std::string& spelling) {
  try {
    find_format(spelling);
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

TEST(SparseFormat, SpellsAndCounts) {
  EXPECT_EQ(find_format("INT4:g64+sparse:2:4")->name(), "int4:g64+sparse:2:4");
  EXPECT_DOUBLE_EQ(find_format("int4:g64+sparse:2:4")->info().bits_per_weight, (4 + 16.0 / 64) / 2 + 1);
  EXPECT_DOUBLE_EQ(find_format("bf16+sparse:2:4")->info().bits_per_weight, 9);
  EXPECT_EQ(split_format("bf16+sparse:2:4+a8").weights, "bf16+sparse:2:4");
  EXPECT_EQ(refusal_of("int4:g64+sparse:1:4"),
            "of sparse weights two of four are left out, sparse:2:4, or a share of 5 to 95 %, as in sparse:50%; other "
            "patterns have no format: '1:4'");
  EXPECT_EQ(refusal_of("int4:g3+sparse:2:4"),
            "two of four weights are kept in groups of an even number, twice as many columns: int4:g3");
  for (const std::string other : {"q4_k", "f32", "int8:tensor", "trellis2:l8", "int4:g64:s6"})
    EXPECT_NE(refusal_of(other + "+sparse:2:4").find("weights are left out of f16, bf16 or a planar format"),
              std::string::npos)
        << other;
  try {
    find_format("int4:g64+sparse:2:4")->planes(1, 66);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              "int4:g64+sparse:2:4 keeps two of four columns, of which there is no whole number: 66");
  }
}

// By hand: the smaller two of each four go, ties to the first.
TEST(SparseFormat, KeepsTheLargerTwoOfFour) {
  const std::vector<float> x = {1, -4, 3, 2, 0, 0, 0, 0, 5, 5, -5, 5};
  const QuantizedTensor tensor = encode_tensor(find_format("f16+sparse:2:4"), x, 1);
  ASSERT_EQ(tensor.planes.size(), 2u);
  EXPECT_EQ(tensor.specs[0].suffix, "values");
  EXPECT_EQ(tensor.specs[0].shape, (Shape{1, 6}));
  std::vector<float> kept;
  for (std::size_t i = 0; i < 6; ++i) {
    std::uint16_t half;
    std::memcpy(&half, &tensor.planes[0][2 * i], 2);
    kept.push_back(f16_to_f32(half));
  }
  EXPECT_EQ(kept, (std::vector<float>{-4, 3, 0, 0, -5, 5}));
  EXPECT_EQ(tensor.specs[1].suffix, "kept");
  EXPECT_EQ(tensor.planes[1], (std::vector<std::byte>{std::byte{0b11000110}, std::byte{0b00001100}}));
  EXPECT_EQ(tensor.view().decode(), (std::vector<float>{0, -4, 3, 0, 0, 0, 0, 0, 0, 0, -5, 5}));
}

class SparseFormats : public testing::TestWithParam<const char*> {};

// What is kept is the plain format's of half the columns, and nothing else is stored.
TEST_P(SparseFormats, HoldWhatIsKeptAsThePlainFormatDoes) {
  constexpr std::size_t kRows = 5, kCols = 200;
  const std::vector<float> x = normal_weights(kRows * kCols);
  const FormatPtr format = find_format(std::string(GetParam()) + "+sparse:2:4"), plain = find_format(GetParam());
  const QuantizedTensor tensor = encode_tensor(format, x, kRows);
  std::vector<float> kept;
  for (std::size_t i = 0; i < x.size(); i += 4) {
    std::vector<std::size_t> order = {i, i + 1, i + 2, i + 3};
    std::ranges::sort(order, [&](std::size_t a, std::size_t b) { return std::fabs(x[a]) > std::fabs(x[b]); });
    kept.push_back(x[std::min(order[0], order[1])]);
    kept.push_back(x[std::max(order[0], order[1])]);
  }
  const QuantizedTensor half = encode_tensor(plain, kept, kRows);
  for (std::size_t p = 0; p < half.planes.size(); ++p) EXPECT_EQ(tensor.planes[p], half.planes[p]) << p;
  const std::vector<float> decoded = tensor.view().decode(), of_kept = half.view().decode();
  std::size_t next = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const bool is_kept = next < kept.size() && kept[next] == x[i];
    ASSERT_EQ(decoded[i], is_kept ? of_kept[next] : 0) << i;
    next += is_kept ? 1 : 0;
  }
  const auto& own = dynamic_cast<const SparseFormat&>(*format);
  if (const FormatPtr dense = own.dense_format())
    EXPECT_EQ(own.dense(tensor.view(), dense).view().decode(), decoded);
  else
    EXPECT_TRUE(std::string(GetParam()).ends_with("half"));
  for (std::size_t row = 0; row < kRows; ++row) EXPECT_FALSE(format->find_defect(tensor.view().row(row), kCols));
}

INSTANTIATE_TEST_SUITE_P(Formats, SparseFormats,
                         testing::Values("f16", "bf16", "int4:g32", "int3:row", "int4:g64:asym", "int2:g32:half",
                                         "nf4:g64"));

// By hand: a quarter of each group of 32 goes, of the 8 behind them two; the kept 24 share a scale.
TEST(SparseFormat, KeepsAShareOfEveryGroup) {
  constexpr std::size_t kRows = 3, kCols = 40;
  const FormatPtr format = find_format("int4:g32+sparse:25%");
  EXPECT_EQ(format->name(), "int4:g32+sparse:25%");
  EXPECT_DOUBLE_EQ(format->info().bits_per_weight, 4 * 0.75 + 16.0 / 32 + 1);
  const std::vector<float> x = normal_weights(kRows * kCols);
  std::vector<float> kept, zeroed = x;
  for (std::size_t row = 0; row < kRows; ++row)
    for (const auto& [first, columns] : {std::pair<std::size_t, std::size_t>{0, 32}, {32, 8}}) {
      const auto begin = x.begin() + static_cast<std::ptrdiff_t>(row * kCols + first);
      std::vector<float> sizes;
      for (std::size_t i = 0; i < columns; ++i) sizes.push_back(std::fabs(begin[static_cast<std::ptrdiff_t>(i)]));
      std::ranges::sort(sizes);
      for (std::size_t i = row * kCols + first; i < row * kCols + first + columns; ++i)
        if (std::fabs(x[i]) < sizes[columns / 4])
          zeroed[i] = 0;
        else
          kept.push_back(x[i]);
    }
  ASSERT_EQ(kept.size(), kRows * 30);
  const QuantizedTensor tensor = encode_tensor(format, x, kRows),
                        dense = encode_tensor(find_format("int4:g24"), kept, kRows);
  EXPECT_EQ(tensor.planes[0], dense.planes[0]);
  EXPECT_EQ(tensor.planes[1], dense.planes[1]);
  const std::vector<float> decoded = tensor.view().decode(), of_kept = dense.view().decode();
  for (std::size_t i = 0, next = 0; i < x.size(); ++i) ASSERT_EQ(decoded[i], zeroed[i] == 0 ? 0 : of_kept[next++]) << i;
  EXPECT_EQ(find_format("f16+sparse:50%")->planes(2, 200)[0].shape, (Shape{2, 100}));
  EXPECT_EQ(find_format("int4:row+sparse:60%")->planes(2, 200)[0].shape, (Shape{2, 41}));  // 52 + 29 of 4 bits
  QuantizedTensor damaged = tensor;
  damaged.planes.back()[4] = std::byte{0xff};
  EXPECT_EQ(format->find_defect(damaged.view().row(0), kCols), "6 of 8 weights should be kept, but 8 are at column 32");
  EXPECT_NO_THROW(damaged.view().decode());
  EXPECT_EQ(refusal_of("int4:g4+sparse:5%"), "groups of so few leave none out: 5 % of 4");
  EXPECT_NE(refusal_of("int4:g64+sparse:96%").find("a share of 5 to 95 %"), std::string::npos);
}

TEST(SparseFormat, NamesDamagedMasks) {
  const FormatPtr format = find_format("int4:g32+sparse:2:4");
  QuantizedTensor tensor = encode_tensor(format, normal_weights(64), 1);
  for (const auto& [byte, count] : {std::pair{0xf0, 0}, {0x3f, 4}, {0x37, 3}}) {
    tensor.planes.back()[2] = static_cast<std::byte>(byte);
    EXPECT_EQ(format->find_defect(tensor.view().row(0), 64),
              "two of four weights should be kept, but " + std::to_string(count) + " are at column 16");
    EXPECT_NO_THROW(tensor.view().decode());
  }
}

}  // namespace
}  // namespace nibble
