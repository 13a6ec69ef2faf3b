// SPDX-License-Identifier: Apache-2.0
#include "format/lattice/lattice_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "format/block_format.h"
#include "format/family/iq_codebook.h"
#include "format/family/row_scale.h"
#include "format/lattice/e8p_points.h"
#include "format/trainable_grid.h"
#include "tensor/tensor.h"

namespace nibble {
namespace {

constexpr std::string_view kName = "e8p2";
constexpr std::size_t kCodeBytes = 2;
// Of a row's deviation, in deviations of the points: measured by what feedback makes of a model.
constexpr float kReach = 1.18F;

// Rows of one parity of minus signs, searchable; magnitudes count halves of a row's numbers.
struct Half {
  Codebook book;
  std::vector<std::uint8_t> rows;  // of the book's points
  Signs signs;
};

Half make_half(bool is_odd) {
  std::vector<std::uint16_t> grid;
  std::vector<std::uint8_t> rows;
  for (std::size_t r = 0; r < kLatticeRows; ++r) {
    const LatticeRow& row = lattice_rows()[r];
    if (row.is_odd != is_odd) continue;
    unsigned levels = 0;
    for (std::size_t j = 0; j < kLatticeCols; ++j) levels |= (row.magnitudes[j] / 2u) << (2 * j);
    grid.push_back(static_cast<std::uint16_t>(levels));
    rows.push_back(static_cast<std::uint8_t>(r));
  }
  constexpr float kLevels[] = {2, 6, 10};  // twice the magnitudes
  return {Codebook(grid, kLevels, kLatticeCols), std::move(rows), is_odd ? Signs::odd : Signs::even};
}

const std::array<Half, 2>& halves() {
  static const std::array<Half, 2> both = {make_half(false), make_half(true)};
  return both;
}

Code code_of(const Half& half, std::uint32_t index, std::uint32_t negative, bool is_down) {
  return static_cast<Code>(half.rows[index]) << 8 | (is_down ? 128u : 0u) | (negative & 127u);
}

float error_in(const float* metric, const float* target, Code code) {
  const auto values = lattice_values(static_cast<std::uint16_t>(code));
  float e[kLatticeCols], sum = 0;
  for (std::size_t j = 0; j < kLatticeCols; ++j) e[j] = target[j] - static_cast<float>(values[j]);
  for (std::size_t i = 0; i < kLatticeCols; ++i) {
    float row = 0;
    for (std::size_t j = 0; j < kLatticeCols; ++j) row += metric[i * kLatticeCols + j] * e[j];
    sum += e[i] * row;
  }
  return sum;
}

// The points fall into four sets, by parity and by shift, each of which is searched by itself.
struct Candidate {
  float error = std::numeric_limits<float>::infinity();
  Code code = 0;
};

FormatInfo make_info() {
  FormatInfo info;
  info.name = kName;
  info.description = "2 bits in the lattice E8, 8 columns together, a scale for each row";
  info.kind = FormatKind::planar;
  info.bits_per_weight = 2;
  info.unit = kLatticeCols;
  info.span = 0;
  info.row_multiple = kLatticeCols;
  return info;
}

class LatticeFormat final : public Format, public TrainableGrid {
 public:
  LatticeFormat() : Format(make_info()) {
    double squares = 0;
    for (std::uint32_t code = 0; code < num_codes(); ++code)
      for (const std::int8_t value : lattice_values(static_cast<std::uint16_t>(code))) squares += value * value;
    deviation_ = static_cast<float>(std::sqrt(squares / static_cast<double>(kLatticeCols * num_codes())));
  }

  std::vector<PlaneSpec> planes(std::uint64_t rows, std::uint64_t cols) const override {
    if (cols % kLatticeCols != 0) throw_row_not_multiple(info_, cols);
    checked_elements({rows, cols}, info_.name);
    const std::uint64_t row_bytes = cols / kLatticeCols * kCodeBytes;
    return {{"codes", DType::u8, {rows, row_bytes}, row_bytes, rows * row_bytes},
            {"scales", DType::f16, {rows}, 2, 2 * rows}};
  }

  std::size_t grid_bytes() const override { return sizeof(RowScale); }

  void fit(std::span<const float> x, std::span<const float> importance, const TensorGrid*, std::uint64_t,
           const FitOptions&, std::byte* grid, std::size_t) const override {
    write_row_scale(fit_row_scale(x, importance, kReach, deviation_), grid);
  }

  Code nearest(const std::byte* grid, std::size_t, const float* target, const float* metric) const override {
    const float scale = read_row_scale(grid).scale;
    if (scale == 0) return 0;
    float wanted[2][kLatticeCols], y[kLatticeCols];
    for (std::size_t j = 0; j < kLatticeCols; ++j) {
      y[j] = target[j] / scale;
      wanted[0][j] = y[j] - 1;
      wanted[1][j] = y[j] + 1;
    }
    std::array<Candidate, 4> found;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const Half& half = halves()[i / 2];
      const Codebook::Choice choice = half.book.nearest(wanted[i % 2], nullptr, half.signs);
      found[i].code = code_of(half, choice.index, choice.negative, i % 2 != 0);
      found[i].error = metric == nullptr ? choice.error : error_in(metric, y, found[i].code);
    }
    const auto smaller = [](const Candidate& a, const Candidate& b) { return a.error < b.error; };
    if (metric == nullptr) return std::min_element(found.begin(), found.end(), smaller)->code;
    Candidate best;
    for (std::size_t i = 0; i < found.size(); ++i) {
      const Half& half = halves()[i / 2];
      const MetricChoice choice = nearest_in_metric(half.book, 1, wanted[i % 2], metric, half.signs);
      const Candidate other{choice.error, code_of(half, choice.index[0], choice.negative, i % 2 != 0)};
      best = std::min(best, other, smaller);
    }
    return best.code;
  }

  void value(const std::byte* grid, std::size_t, Code code, float* out) const override {
    const float scale = read_row_scale(grid).scale;
    const auto values = lattice_values(static_cast<std::uint16_t>(code));
    for (std::size_t j = 0; j < kLatticeCols; ++j) out[j] = scale * static_cast<float>(values[j]);
  }

  std::vector<GridPart> grid_parts(const std::byte* grid, std::size_t) const override {
    return {{"scale", static_cast<double>(read_row_scale(grid).scale)}};
  }

  std::uint64_t num_codes() const override { return std::uint64_t{1} << 16; }

  void pack(const std::byte* grid, const Code* codes, std::size_t, std::size_t columns,
            const RowPlanes& row) const override {
    for (std::size_t i = 0; i < columns / kLatticeCols; ++i) {
      row[0][kCodeBytes * i] = static_cast<std::byte>(codes[i] & 255u);
      row[0][kCodeBytes * i + 1] = static_cast<std::byte>(codes[i] >> 8);
    }
    store_row_scale(read_row_scale(grid).scale, row[1]);
  }

  void unpack(const ConstRowPlanes& row, std::size_t, std::size_t columns, const TensorGrid*, std::uint64_t,
              std::byte* grid, Code* codes) const override {
    write_row_scale({stored_row_scale(row[1])}, grid);
    for (std::size_t i = 0; i < columns / kLatticeCols; ++i)
      codes[i] = std::to_integer<Code>(row[0][kCodeBytes * i]) | std::to_integer<Code>(row[0][kCodeBytes * i + 1]) << 8;
  }

  std::optional<std::string> find_defect(const ConstRowPlanes& row, std::uint64_t) const override {
    if (std::isfinite(stored_row_scale(row[1]))) return std::nullopt;
    return "its scale is not finite";
  }

  std::size_t num_parameters() const override { return 1; }
  void parameters(const std::byte* grid, float* out) const override { *out = read_row_scale(grid).scale; }
  void store(const float* parameters, std::byte* grid) const override {
    write_row_scale({f16_to_f32(to_f16_saturated(*parameters))}, grid);
  }
  void values(const std::byte*, const float* parameters, const Code* codes, std::size_t columns,
              float* out) const override {
    slopes(nullptr, parameters, codes, columns, out);
    for (std::size_t i = 0; i < columns; ++i) out[i] *= *parameters;
  }
  void slopes(const std::byte*, const float*, const Code* codes, std::size_t columns, float* out) const override {
    for (std::size_t i = 0; i < columns; i += kLatticeCols) {
      const auto values = lattice_values(static_cast<std::uint16_t>(codes[i / kLatticeCols]));
      std::copy(values.begin(), values.end(), out + i);
    }
  }

 private:
  float deviation_ = 1;
};

}  // namespace

FormatPtr make_lattice_format(std::string_view spelling) {
  if (spelling != kName) return nullptr;
  static const FormatPtr format = std::make_shared<LatticeFormat>();
  return format;
}

bool is_lattice(const Format& format) { return dynamic_cast<const LatticeFormat*>(&format) != nullptr; }

}  // namespace nibble
