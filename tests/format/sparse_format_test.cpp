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
            "of sparse weights two of four are kept, sparse:2:4; other patterns have no format: '1:4'");
  for (const std::string other : {"q4_k", "f32", "int8:tensor", "trellis2:l8", "int4:g64:s6"})
    EXPECT_NE(refusal_of(other + "+sparse:2:4").find("two of four weights are kept in f16, bf16 or a planar format"),
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
