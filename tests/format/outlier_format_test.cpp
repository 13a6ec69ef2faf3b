// SPDX-License-Identifier: Apache-2.0
//
// Formats with outliers: their names, their bytes, and what is wrong with damaged ones.
#include "format/outlier_format.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/mapped_file.h"
#include "format/activation_format.h"
#include "format/encode_tensor.h"
#include "nibble/error.h"

namespace nibble {
namespace {

nlohmann::json read_cases() {
  const MappedFile file(NIBBLE_SOURCE_DIR "/tests/data/format/outliers.json");
  const auto* const text = reinterpret_cast<const char*>(file.bytes().data());
  return nlohmann::json::parse(text, text + file.bytes().size());
}

std::vector<std::byte> bytes_of(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

std::string refusal_of(const std::string& spelling) {
  try {
    find_format(spelling);
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument) << spelling;
    return error.what();
  }
  return "none";
}

TEST(OutlierFormat, SpellsItsShare) {
  for (const auto& [given, name] : {std::pair{"int3:g128+outliers:0.5%", "int3:g128+outliers:0.5%"},
                                    {"INT4:asym:g32+Outliers:1.00%", "int4:g32:asym+outliers:1%"},
                                    {"nf4:g64+outliers:5%", "nf4:g64+outliers:5%"},
                                    {"binary:row+outliers:0.05%", "binary:row+outliers:0.05%"}}) {
    const FormatPtr format = find_format(given);
    EXPECT_EQ(format->name(), name);
    EXPECT_EQ(find_format(format->name())->name(), name);
  }
  EXPECT_DOUBLE_EQ(find_format("int3:g128+outliers:0.5%")->info().bits_per_weight, 3 + 16.0 / 128 + 0.16);
  EXPECT_EQ(find_format("int3:g128+outliers:0.5%")->info().row_unit, 64u);
}

TEST(OutlierFormat, BelongsToTheWeightsOfASpelling) {
  const SpelledFormat spelled = split_format("int3:g128+outliers:0.5%+a8:static");
  EXPECT_EQ(spelled.weights, "int3:g128+outliers:0.5%");
  ASSERT_EQ(spelled.parts.size(), 1u);
  EXPECT_EQ(spelled.parts[0], "a8:static");
  EXPECT_EQ(split_format("int4:g32+outliers:1%").weights, "int4:g32+outliers:1%");
  EXPECT_EQ(split_format("int4:g32+outliers").weights, "int4:g32+outliers");
}

TEST(OutlierFormat, RefusesByName) {
  EXPECT_EQ(refusal_of("int3:g32+outliers:5.01%"), "at most 5% of the weights may be outliers: '5.01%'");
  EXPECT_EQ(refusal_of("int3:g32+outliers:0%"), "a share of no outliers is said by leaving it out: '0%'");
  for (const std::string share : {"1", "", "%", "x%", "1.%", ".5%", "0.001%", "-1%", "1%+outliers:1%", "1000%"})
    EXPECT_EQ(refusal_of("int3:g32+outliers:" + share),
              "the share of outliers should be a percentage of at most two places, such as 0.5%: '" + share + "'");
  EXPECT_EQ(refusal_of("q4_k+outliers:1%"),
            "outliers are kept beside planar formats, such as int3:g128; this is none: q4_k");
  EXPECT_EQ(refusal_of("trellis2:l8+outliers:1%"),
            "outliers are kept beside planar formats, such as int3:g128; this is none: trellis2:l8");
  for (const auto& [shared, why] : {std::pair{"int8:tensor", "belong to more than a row"},
                                    {"int4:block32x64", "belong to more than a row"},
                                    {"nf4:g64:dq", "are rounded on a grid of the whole tensor"},
                                    {"int4:g64:s6", "are multiples of their row's number"},
                                    {"int4:g64:s8", "are multiples of their row's number"}})
    EXPECT_EQ(refusal_of(std::string(shared) + "+outliers:1%"),
              "outliers are kept beside formats whose groups or rows have scales of their own; those of " +
                  find_format(shared)->name() + " " + why);
  EXPECT_EQ(refusal_of("int4:g32+outliers"),
            "the share of outliers should be a percentage of at most two places, such as 0.5%: ''");
}

TEST(OutlierFormat, HasRowsThatColumnsOf16BitsReach) {
  const FormatPtr format = find_format("int4:g128+outliers:0.5%");
  EXPECT_NO_THROW(format->planes(1, 65536));
  EXPECT_THROW(format->planes(1, 65664), Error);
}

// The planes of another program's outliers, beside the codes of rows that are encoded without them.
class Tiles : public testing::Test {
 protected:
  Tiles() {
    const nlohmann::json data = read_cases();
    for (const int thousandths : data["thousandths"]) x_.push_back(static_cast<float>(thousandths / 1000.0));
    rows_ = data["rows"];
    cols_ = data["cols"];
    one_ = data["cases"][0];
    format_ = find_format(one_["format"].get<std::string>());
    tensor_ = QuantizedTensor(format_, rows_, cols_);
    std::vector<std::byte>& plane = tensor_.planes.back();
    plane.clear();
    for (const nlohmann::json& tile : one_["outliers"]) {
      const std::vector<std::byte> bytes = bytes_of(tile.get<std::string>());
      plane.insert(plane.end(), bytes.begin(), bytes.end());
    }
    layout_ = dynamic_cast<const OutlierFormat&>(*format_).layout(cols_);
  }
  std::string defect() const { return format_->find_defect(tensor_.view().row(0), cols_).value_or("none"); }
  void set(std::size_t at, std::uint16_t value) { std::memcpy(&tensor_.planes.back()[at], &value, 2); }

  std::vector<float> x_;
  std::size_t rows_ = 0, cols_ = 0;
  nlohmann::json one_;
  FormatPtr format_;
  QuantizedTensor tensor_;
  OutlierLayout layout_;
};

TEST_F(Tiles, AreAsLongAsTheFormatSays) {
  EXPECT_EQ(tensor_.planes.back().size(), 2 * layout_.bytes());
  EXPECT_EQ(tensor_.specs.back().suffix, "outliers");
  EXPECT_EQ(tensor_.specs.back().shape, (Shape{2, layout_.bytes()}));
  EXPECT_EQ(defect(), "none");
}

// Codes of zeros: what is decoded is what the outliers add.
TEST_F(Tiles, AddToTheirOwnRows) {
  const FormatPtr plain = dynamic_cast<const OutlierFormat&>(*format_).weights();
  QuantizedTensor codes = encode_tensor(plain, std::vector<float>(rows_ * cols_), rows_);
  for (std::size_t p = 0; p < codes.planes.size(); ++p) tensor_.planes[p] = codes.planes[p];
  const std::vector<float> decoded = tensor_.view().decode();
  std::size_t count = 0;
  for (std::size_t i = 0; i < decoded.size(); ++i) {
    if (decoded[i] == 0) continue;
    ++count;
    EXPECT_EQ(decoded[i], f16_to_f32(f32_to_f16(x_[i]))) << i;
  }
  EXPECT_EQ(count, 123u + 12u);
}

TEST_F(Tiles, ThatAreDamagedAreNamed) {
  const std::vector<std::byte> whole = tensor_.planes.back();
  const auto again = [&] { tensor_.planes.back() = whole; };
  tensor_.planes.back()[5] = std::byte{200};
  EXPECT_EQ(defect(), "the rows around have more outliers than there are places: 123 for 64 rows");
  again();
  set(64, 96);
  EXPECT_EQ(defect(), "an outlier of the rows around has a column that is not there: 96 of 96");
  again();
  std::size_t row = 0;
  while (layout_.count(whole.data(), row) < 2) ++row;
  const std::size_t second = layout_.begin(whole.data(), row) + 1;
  const auto before = static_cast<std::uint16_t>(layout_.column(whole.data(), second - 1));
  set(64 + 2 * second, before);
  EXPECT_EQ(defect(), "the outliers of the rows around do not ascend: column " + std::to_string(before) + " follows " +
                          std::to_string(before));
  again();
  set(64 + 2 * layout_.places, 0x7c00);
  EXPECT_NE(defect().find("is not finite"), std::string::npos) << defect();
  again();
  while (layout_.count(whole.data(), row) == 0) ++row;
  std::size_t last = 63;
  while (layout_.count(whole.data(), last) == 0) --last;
  tensor_.planes.back()[last] = static_cast<std::byte>(layout_.count(whole.data(), last) - 1);
  EXPECT_EQ(defect(), "behind the outliers of the rows around is something else than zeros");
}

TEST_F(Tiles, CountNoneInRowsThatAreNotThere) {
  const auto& own = dynamic_cast<const OutlierFormat&>(*format_);
  std::byte* const last = tensor_.planes.back().data() + layout_.bytes();
  EXPECT_EQ(own.find_tail_defect(last, rows_, cols_), std::nullopt);
  last[63] = std::byte{1};
  EXPECT_EQ(own.find_tail_defect(last, rows_, cols_),
            "outliers are counted in a row that is not there: row 127 of " + std::to_string(rows_));
  EXPECT_EQ(own.find_tail_defect(last, 128, cols_), std::nullopt);
}

// Whatever a tile says, nothing beyond it is read, and nothing beyond a row is written.
TEST_F(Tiles, OfAnyBytesAreReadWithinThem) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    unsigned state = seed;
    for (std::byte& byte : tensor_.planes.back()) {
      state = state * 1103515245u + 12345u;
      byte = static_cast<std::byte>(state >> 16);
    }
    std::vector<float> values(cols_);
    for (std::size_t row = 0; row < rows_; ++row) tensor_.view().decode_row(row, values);
    EXPECT_NE(defect(), "none");
  }
}

}  // namespace
}  // namespace nibble
