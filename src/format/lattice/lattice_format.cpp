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
#include "format/lattice/nested_points.h"
#include "format/lattice/nested_search.h"
#include "format/trainable_grid.h"
#include "tensor/tensor.h"

namespace nibble {
namespace {

// Of a row's deviation, in deviations of the points, by the number of refinements: measured by what feedback makes of a
// model.
constexpr float kReaches[] = {1.18F, 1.25F, 1.32F};

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

struct Candidate {
  float error = std::numeric_limits<float>::infinity();
  Code code = 0;
};

// Of the points of E8P. The two shifts and the two parities part them into four sets, each of which is searched by
// itself.
Code nearest_point(const float* y, const float* metric) {
  float wanted[2][kLatticeCols];
  for (std::size_t j = 0; j < kLatticeCols; ++j) {
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

std::string name_of(std::size_t num_refinements) { return "e8p" + std::to_string(2 + num_refinements); }

FormatInfo make_info(std::size_t num_refinements) {
  FormatInfo info;
  info.name = name_of(num_refinements);
  info.description =
      fmt::format("{} bits in the lattice E8, 8 columns together, a scale for each row", 2 + num_refinements);
  info.kind = FormatKind::planar;
  info.bits_per_weight = 2 + static_cast<double>(num_refinements);
  info.unit = kLatticeCols;
  info.span = 0;
  info.row_multiple = kLatticeCols;
  return info;
}

class LatticeFormat final : public Format, public TrainableGrid {
 public:
  explicit LatticeFormat(std::size_t num_refinements)
      : Format(make_info(num_refinements)),
        num_refinements_(num_refinements),
        code_bytes_(2 + num_refinements),
        deviation_(deviation_of(num_refinements)) {}

  std::size_t num_refinements() const noexcept { return num_refinements_; }

  std::vector<PlaneSpec> planes(std::uint64_t rows, std::uint64_t cols) const override {
    if (cols % kLatticeCols != 0) throw_row_not_multiple(info_, cols);
    checked_elements({rows, cols}, info_.name);
    const std::uint64_t row_bytes = cols / kLatticeCols * code_bytes_;
    return {{"codes", DType::u8, {rows, row_bytes}, row_bytes, rows * row_bytes},
            {"scales", DType::f16, {rows}, 2, 2 * rows}};
  }

  std::size_t grid_bytes() const override { return sizeof(RowScale); }

  void fit(std::span<const float> x, std::span<const float> importance, const TensorGrid*, std::uint64_t,
           const FitOptions&, std::byte* grid, std::size_t) const override {
    write_row_scale(fit_row_scale(x, importance, kReaches[num_refinements_], deviation_), grid);
  }

  Code nearest(const std::byte* grid, std::size_t, const float* target, const float* metric) const override {
    const float scale = read_row_scale(grid).scale;
    if (scale == 0) return 0;
    // What is farther off has the same nearest points, but for rounding, and none once squares are infinite; what is no
    // number has none, and takes any.
    constexpr float kFarthest = 1000;
    float y[kLatticeCols];
    for (std::size_t j = 0; j < kLatticeCols; ++j) {
      const float scaled = target[j] / scale;
      y[j] = std::isnan(scaled) ? 0 : std::clamp(scaled, -kFarthest, kFarthest);
    }
    return num_refinements_ == 0 ? nearest_point(y, metric) : nearest_nested(num_refinements_, y, metric);
  }

  void value(const std::byte* grid, std::size_t, Code code, float* out) const override {
    const float scale = read_row_scale(grid).scale;
    const auto values = nested_values(code, num_refinements_);
    for (std::size_t j = 0; j < kLatticeCols; ++j) out[j] = scale * static_cast<float>(values[j]);
  }

  std::vector<GridPart> grid_parts(const std::byte* grid, std::size_t) const override {
    return {{"scale", static_cast<double>(read_row_scale(grid).scale)}};
  }

  std::uint64_t num_codes() const override { return std::uint64_t{1} << (8 * code_bytes_); }

  void pack(const std::byte* grid, const Code* codes, std::size_t, std::size_t columns,
            const RowPlanes& row) const override {
    for (std::size_t i = 0; i < columns / kLatticeCols; ++i)
      for (std::size_t byte = 0; byte < code_bytes_; ++byte)
        row[0][code_bytes_ * i + byte] = static_cast<std::byte>(codes[i] >> (8 * byte) & 255u);
    store_row_scale(read_row_scale(grid).scale, row[1]);
  }

  void unpack(const ConstRowPlanes& row, std::size_t, std::size_t columns, const TensorGrid*, std::uint64_t,
              std::byte* grid, Code* codes) const override {
    write_row_scale({stored_row_scale(row[1])}, grid);
    for (std::size_t i = 0; i < columns / kLatticeCols; ++i) {
      codes[i] = 0;
      for (std::size_t byte = 0; byte < code_bytes_; ++byte)
        codes[i] |= std::to_integer<Code>(row[0][code_bytes_ * i + byte]) << (8 * byte);
    }
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
      const auto values = nested_values(codes[i / kLatticeCols], num_refinements_);
      std::copy(values.begin(), values.end(), out + i);
    }
  }

 private:
  // Bytes name refinements independently, so their squares and E8P's add up.
  static float deviation_of(std::size_t num_refinements) {
    double points = 0, finer = 0;
    for (std::uint32_t code = 0; code < 65536; ++code)
      for (const std::int8_t value : lattice_values(static_cast<std::uint16_t>(code))) points += value * value;
    for (const auto& refinement : refinements())
      for (const std::int8_t value : refinement) finer += value * value;
    double squares = points / 65536;
    for (std::size_t i = 0; i < num_refinements; ++i) squares = (i == 0 ? 1 : 4) * squares + finer / kRefinements;
    return static_cast<float>(std::sqrt(squares / kLatticeCols));
  }

  std::size_t num_refinements_, code_bytes_;
  float deviation_;
};

}  // namespace

FormatPtr make_lattice_format(std::string_view spelling) {
  if (!spelling.starts_with("e8p")) return nullptr;
  static const std::array<FormatPtr, kMostRefinements + 1> formats = {
      std::make_shared<LatticeFormat>(0), std::make_shared<LatticeFormat>(1), std::make_shared<LatticeFormat>(2)};
  for (const FormatPtr& format : formats)
    if (format->name() == spelling) return format;
  return nullptr;
}

std::optional<LatticeShape> lattice_shape(const Format& format) {
  const auto* const lattice = dynamic_cast<const LatticeFormat*>(&format);
  if (lattice == nullptr) return std::nullopt;
  return LatticeShape{lattice->num_refinements()};
}

}  // namespace nibble
