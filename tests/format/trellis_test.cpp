// SPDX-License-Identifier: Apache-2.0
//
// Trellis formats against what another program wrote and read (tools/reference_trellis.py).
#include "format/trellis/trellis_format.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "base/half.h"
#include "base/mapped_file.h"
#include "format/encode_tensor.h"
#include "format/random_tiles.h"
#include "format/trainable_grid.h"
#include "nibble/error.h"

namespace nibble {
namespace {

nlohmann::json read_cases() {
  const MappedFile file(NIBBLE_SOURCE_DIR "/tests/data/format/trellis.json");
  const auto* const text = reinterpret_cast<const char*>(file.bytes().data());
  return nlohmann::json::parse(text, text + file.bytes().size());
}

TEST(Trellis, BytesAndNumbersAreAsAnotherProgramHasThem) {
  const nlohmann::json data = read_cases();
  const std::size_t rows = data["rows"], cols = data["cols"];
  std::vector<float> x;
  for (const int thousandths : data["thousandths"]) x.push_back(static_cast<float>(thousandths / 1000.0));
  ASSERT_EQ(data["cases"].size(), 8u);
  for (const nlohmann::json& one : data["cases"]) {
    const FormatPtr format = find_format(one["format"].get<std::string>());
    const QuantizedTensor tensor = encode_tensor(format, x, rows);
    std::string codes;
    for (const std::byte byte : tensor.planes[0]) {
      constexpr std::string_view kDigits = "0123456789abcdef";
      codes += kDigits[std::to_integer<unsigned>(byte) / 16];
      codes += kDigits[std::to_integer<unsigned>(byte) % 16];
    }
    EXPECT_EQ(codes, one["codes"].get<std::string>()) << format->name();
    const std::vector<float> decoded = tensor.view().decode();
    for (std::size_t row = 0; row < rows; ++row) {
      std::uint16_t half;
      std::memcpy(&half, &tensor.planes[1][2 * row], sizeof(half));
      ASSERT_EQ(half, one["scales"][row].get<std::uint16_t>()) << format->name() << " row " << row;
      for (std::size_t col = 0; col < cols; ++col)
        ASSERT_EQ(decoded[row * cols + col],
                  f16_to_f32(half) * static_cast<float>(one["windows"][row * cols + col].get<int>()))
            << format->name() << " row " << row << " column " << col;
    }
  }
}

// What a tile's coder says is stored is what is read, whatever weighs how much.
TEST(Trellis, CoderTellsWhatIsStored) {
  const FormatPtr format = find_format("trellis3:l8");
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  constexpr std::size_t kRows = 64, kCols = 4;
  std::vector<float> targets(kRows * kCols), values(kRows * kCols), metric(kCols * kCols);
  for (float& t : targets) t = normal(random);
  for (std::size_t i = 0; i < kCols; ++i) metric[i * kCols + i] = 1 + static_cast<float>(i);
  std::vector<std::byte> grids(kRows * format->grid_bytes());
  for (std::size_t row = 0; row < kRows; ++row)
    format->fit(targets, {}, nullptr, row, {}, &grids[row * format->grid_bytes()]);
  std::vector<Code> codes(kRows);
  const RowTiles& tiles = *find_row_tiles(*format);
  tiles.make_coder()->nearest(grids.data(), format->grid_bytes(), kRows, targets.data(), metric.data(), codes.data(),
                              values.data());
  QuantizedTensor tensor(format, kRows, kCols);
  tiles.pack(grids.data(), format->grid_bytes(), kRows, codes.data(), 1, kCols, tensor.row(0));
  EXPECT_EQ(tensor.view().decode(), values);
  // The row's own bits come back.
  std::vector<std::byte> grid(format->grid_bytes());
  for (std::size_t row = 0; row < kRows; ++row) {
    Code code = 0;
    format->unpack(tensor.view().row(row), 0, kCols, nullptr, row, grid.data(), &code);
    EXPECT_EQ(code, codes[row]);
  }
}

// Squared error on normal numbers as a share of their squares: within 4 % of what longer measurements gave.
TEST(Trellis, LosesWhatItShouldOnNormalNumbers) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  constexpr std::size_t kRows = 64, kCols = 256;
  std::vector<float> x(kRows * kCols);
  for (float& v : x) v = normal(random);
  const std::map<std::string, double> known = {{"trellis1:l8", 0.277},   {"trellis2:l8", 0.0772},
                                               {"trellis3:l8", 0.0210},  {"trellis4:l8", 0.00580},
                                               {"trellis5:l8", 0.00160}, {"trellis6:l8", 0.00050}};
  for (const auto& [name, expected] : known) {
    const std::vector<float> y = encode_tensor(find_format(name), x, kRows).view().decode();
    double error = 0, squares = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      error += std::pow(static_cast<double>(x[i] - y[i]), 2);
      squares += std::pow(static_cast<double>(x[i]), 2);
    }
    EXPECT_NEAR(error / squares, expected, 0.04 * expected) << name;
  }
}

TEST(Trellis, RowsOfZerosStayZeros) {
  const std::vector<float> x(64 * 8, 0.0F);
  for (const float value : encode_tensor(find_format("trellis2:l8"), x, 64).view().decode()) EXPECT_EQ(value, 0);
}

// Also of another program's tiles; a scale goes to the nearest half number.
TEST(Trellis, ColumnsHaveCodesOfTheirOwn) {
  const FormatPtr format = find_format("trellis6:l16");
  const TrainableGrid& free = *find_trainable_grid(*format);
  const QuantizedTensor tensor = random_tiles(format, 70, 8, 1);
  std::vector<Code> codes(8);
  std::vector<float> decoded(8), values(8), slopes(8);
  for (std::size_t row = 0; row < 70; ++row) {
    const ConstRowPlanes planes = tensor.view().row(row);
    find_row_tiles(*format)->column_codes(planes, row, codes);
    format->decode_row(planes, nullptr, row, decoded);
    float scale = 0;
    std::byte grid[sizeof(float)];
    std::vector<Code> symbols(2);
    format->unpack(planes, 0, 8, nullptr, row, grid, symbols.data());
    free.parameters(grid, &scale);
    free.values(grid, &scale, codes.data(), 8, values.data());
    free.slopes(grid, &scale, codes.data(), 8, slopes.data());
    EXPECT_EQ(values, decoded) << row;
    for (std::size_t i = 0; i < 8; ++i) {
      EXPECT_EQ(scale * slopes[i], decoded[i]) << row << ", " << i;
      EXPECT_EQ(codes[i] & 63u, symbols[i / 4] >> (6 * (i % 4)) & 63u) << row << ", " << i;
    }
    const float finer = scale * 1.0001F;
    free.store(&finer, grid);
    float stored = 0;
    free.parameters(grid, &stored);
    EXPECT_EQ(stored, f16_to_f32(f32_to_f16(finer))) << row;
  }
}

TEST(Trellis, NamesAreJudged) {
  EXPECT_EQ(find_format("trellis2")->name(), "trellis2:l8");
  EXPECT_EQ(find_format("TRELLIS4:L12")->info().row_unit, 64u);
  const auto refusal = [](const char* name) -> std::string {
    try {
      find_format(name);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::invalid_argument) << name;
      return error.what();
    }
    return "accepted";
  };
  for (const char* const wrong : {"trellis", "trellis0", "trellis7:l8"})
    EXPECT_EQ(refusal(wrong), std::string("trellises are trellis1 .. trellis6: ") + wrong);
  for (const char* const option : {"l9", "12", "g64", ""})
    EXPECT_EQ(refusal(("trellis2:l16:" + std::string(option)).c_str()),
              fmt::format("a trellis has no option '{0}'; it takes one of l8 (a table of 256 values), l12 and l16 "
                          "(values computed), and scales lie by rows: trellis2:l16:{0}",
                          option));
  EXPECT_EQ(refusal("trellis2:l8:l12"), "a trellis has one number of states; 'l12' is another: trellis2:l8:l12");
  EXPECT_THROW(find_format("trellis2")->planes(64, 6), Error);
}

}  // namespace
}  // namespace nibble
