// SPDX-License-Identifier: Apache-2.0
//
// Outliers beside codes (SpQR, Dettmers et al. 2023): a planar format of which a fixed share of weights, wherever they
// cost most, is put right by a number of 16 bits.
//
//   int3:g128+outliers:0.5%
//
// Planes of a [rows, cols] tensor: those of the format before the plus, and
//   outliers   U8 [ceil(rows / 64), 64 * s + 4 * n]
// for each tile of 64 rows: how many outliers each of them has (s bytes each, see OutlierLayout), then the columns of
// all of them as U16, row by row and ascending within a row, then their addends as F16, all little-endian. A tile has n
// places = the share of 64 * cols, rounded, at least one; places that are not needed are at the end, and zero.
//
//   x = value of the code + addend, rounded to f32
//
// Which weights these are is chosen by whoever rounds (quantize/round/span_codes.h): rows encoded one by one have none.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

#include "base/half.h"
#include "format/format.h"
#include "format/span_loops.h"

namespace nibble {

inline constexpr std::size_t kOutlierRows = 64;        // of a tile
inline constexpr unsigned kMostOutliers = 500;         // hundredths of a percent
inline constexpr std::size_t kOutlierColumns = 65536;  // that a row may have

// Where the outliers of a tile lie in its bytes. Reads of a damaged tile stay within it: judge() says what is wrong.
struct OutlierLayout {
  std::size_t cols = 0, places = 0, count_bytes = 1;

  std::size_t bytes() const { return kOutlierRows * count_bytes + 4 * places; }
  std::size_t most_of_row() const { return count_bytes == 1 ? 255 : 65535; }
  std::size_t count(const std::byte* tile, std::size_t row) const {
    if (count_bytes == 1) return std::to_integer<std::size_t>(tile[row]);
    return word(tile + 2 * row);
  }
  // The first entry of a row: how many those before it have, at most `places`.
  std::size_t begin(const std::byte* tile, std::size_t row) const {
    std::size_t sum = 0;
    for (std::size_t r = 0; r < row; ++r) sum += count(tile, r);
    return sum < places ? sum : places;
  }
  std::size_t end(const std::byte* tile, std::size_t row) const { return begin(tile, row + 1); }
  std::size_t column(const std::byte* tile, std::size_t entry) const { return word(columns(tile) + 2 * entry); }
  float addend(const std::byte* tile, std::size_t entry) const { return f16_to_f32(word(addends(tile) + 2 * entry)); }
  const std::byte* columns(const std::byte* tile) const { return tile + kOutlierRows * count_bytes; }
  const std::byte* addends(const std::byte* tile) const { return columns(tile) + 2 * places; }

  // What no writer should have stored, or nothing.
  std::optional<std::string> judge(const std::byte* tile) const;

 private:
  static std::uint16_t word(const std::byte* at) {
    std::uint16_t value;
    std::memcpy(&value, at, 2);
    return value;
  }
};

// One weight of a tile that has an addend.
struct Outlier {
  std::uint16_t row = 0, column = 0;  // within the tile
  float addend = 0;                   // a number that f16 has
};

class OutlierFormat final : public Format, public LoopedFormat {
 public:
  // weights: a planar format. share: hundredths of a percent, 1 .. kMostOutliers. Error(invalid_argument) where the
  // format's grids are found for whole tensors, so that they would be found for what is left out, too.
  OutlierFormat(FormatPtr weights, unsigned share);

  const FormatPtr& weights() const noexcept { return weights_; }
  OutlierLayout layout(std::uint64_t cols) const;
  // How many outliers the first `rows` rows of a tile may have together.
  std::size_t places(std::size_t rows, std::uint64_t cols) const;
  // Writes a tile's, which are ordered by row and column and are no more than its places.
  void write(std::span<const Outlier> outliers, std::uint64_t cols, const RowPlanes& tile) const;
  // What is wrong with the last tile of a tensor beyond what find_defect() judges without knowing how many rows there
  // are.
  std::optional<std::string> find_tail_defect(const std::byte* tile, std::uint64_t rows, std::uint64_t cols) const;
  // Where a tile's lie.
  const std::byte* tile(const ConstRowPlanes& row) const { return row[plane_]; }

  FormatPtr with_loops(const SpanLoops& loops) const override;
  std::vector<PlaneSpec> planes(std::uint64_t rows, std::uint64_t cols) const override;
  std::uint64_t cut_multiple(std::uint64_t) const override { return kOutlierRows; }
  std::size_t grid_bytes() const override { return weights_->grid_bytes(); }
  void fit(std::span<const float> x, std::span<const float> importance, const TensorGrid* tensor_grid,
           std::uint64_t row, const FitOptions& options, std::byte* grid, std::size_t span_index) const override;
  Code nearest(const std::byte* grid, std::size_t column, const float* target, const float* metric) const override;
  void value(const std::byte* grid, std::size_t column, Code code, float* out) const override;
  std::vector<GridPart> grid_parts(const std::byte* grid, std::size_t column) const override;
  std::uint64_t num_codes() const override { return weights_->num_codes(); }
  void pack(const std::byte* grid, const Code* codes, std::size_t span_index, std::size_t columns,
            const RowPlanes& row) const override;
  void unpack(const ConstRowPlanes& row, std::size_t span_index, std::size_t columns, const TensorGrid* tensor_grid,
              std::uint64_t row_index, std::byte* grid, Code* codes) const override;
  // Without outliers.
  void encode_row(std::span<const float> x, std::span<const float> importance, const TensorGrid* tensor_grid,
                  std::uint64_t row_index, const FitOptions& options, const RowPlanes& row) const override;
  void decode_row(const ConstRowPlanes& row, const TensorGrid* tensor_grid, std::uint64_t row_index,
                  std::span<float> out) const override;
  std::optional<std::string> find_defect(const ConstRowPlanes& row, std::uint64_t cols) const override;

 private:
  FormatPtr weights_;
  unsigned share_;
  std::size_t plane_;  // the outliers' place among the planes
};

// Null when the format has none.
inline const OutlierFormat* find_outlier_format(const Format& format) {
  return dynamic_cast<const OutlierFormat*>(&format);
}

// Null where nothing in the spelling (lower case) speaks of outliers; Error(invalid_argument) where it does and is
// wrong.
FormatPtr make_outlier_format(std::string_view spelling);

// What stands behind a plus: "outliers:0.5%".
bool is_outlier_part(std::string_view part);

}  // namespace nibble
