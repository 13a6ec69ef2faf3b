// SPDX-License-Identifier: Apache-2.0
#include "format/sparse_format.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <charconv>
#include <utility>

#include "format/planar/format.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::string_view kWord = "sparse", kTwoOfFour = "2:4";
constexpr std::size_t kRunOfRows = 128;  // columns, where there are no groups
constexpr unsigned kLeastPercent = 5, kMostPercent = 95;

bool is_raw(const Format& format) { return format.info().kind == FormatKind::raw; }

bool takes_zeros(const Format& weights) {
  if (weights.name() == "f16" || weights.name() == "bf16") return true;
  return find_planar_spec(weights) != nullptr && !weights.needs_prepare() && weights.cut_multiple(1) == 1;
}

SparsePattern make_pattern(const Format& weights, unsigned percent) {
  if (percent == 0) return {};
  const std::size_t span = is_raw(weights) ? 0 : weights.info().span, columns = span == 0 ? kRunOfRows : span;
  SparsePattern pattern{columns, 0, percent};
  pattern.dropped = pattern.dropped_of(columns);
  return pattern;
}

// What the weights that are kept are stored in: groups of as many as are kept of one.
FormatPtr make_kept(const FormatPtr& weights, const SparsePattern& pattern) {
  const PlanarSpec* const spec = find_planar_spec(*weights);
  if (pattern.percent == 0 || spec == nullptr || spec->grain != PlanarGrain::group) return weights;
  PlanarSpec kept = *spec;
  kept.group -= static_cast<std::uint32_t>(pattern.dropped);
  return find_format(planar_name(kept));
}

unsigned code_bits(const Format& weights) {
  const PlanarSpec* const spec = find_planar_spec(weights);
  return spec != nullptr ? spec->bits : 16;
}

FormatInfo make_info(const Format& weights, const SparsePattern& pattern) {
  FormatInfo info = weights.info();
  info.kind = FormatKind::planar;
  info.ggml_type = info.ggml_ftype = std::nullopt;
  if (pattern.percent != 0) {
    info.name += fmt::format("+{}:{}%", kWord, pattern.percent);
    info.description += fmt::format("; {} % of the weights are 0 and take a bit", pattern.percent);
    info.bits_per_weight +=
        1 - code_bits(weights) * static_cast<double>(pattern.dropped) / static_cast<double>(pattern.columns);
    info.span = is_raw(weights) ? 0 : info.span;
    return info;
  }
  info.name += fmt::format("+{}:{}", kWord, kTwoOfFour);
  info.description += "; two of four weights are 0 and take a bit";
  info.bits_per_weight = info.bits_per_weight / 2 + 1;
  info.span = is_raw(weights) ? 0 : 2 * weights.info().span;
  info.row_multiple = pattern.columns;
  return info;
}

bool is_kept(const std::byte* mask, std::size_t column) {
  return (std::to_integer<unsigned>(mask[column / 8]) >> (column % 8) & 1u) != 0;
}

}  // namespace

void choose_dropped(const SparsePattern& pattern, std::span<const float> row, std::span<const float> costs,
                    std::span<std::uint8_t> dropped) {
  assert(dropped.size() == row.size());
  std::vector<std::pair<float, std::size_t>> losses;
  std::ranges::fill(dropped, std::uint8_t{0});
  for (std::size_t first = 0; first < row.size(); first += pattern.columns) {
    losses.clear();
    for (std::size_t i = first; i < std::min(row.size(), first + pattern.columns); ++i)
      losses.emplace_back(row[i] * row[i] * (costs.empty() ? 1 : costs[i]), i);
    const auto last = losses.begin() + static_cast<std::ptrdiff_t>(pattern.dropped_of(losses.size()));
    if (last == losses.begin()) continue;
    std::ranges::nth_element(losses, last - 1);
    for (auto one = losses.begin(); one != last; ++one) dropped[one->second] = 1;
  }
}

SparseFormat::SparseFormat(FormatPtr weights, unsigned percent)
    : Format(make_info(*weights, make_pattern(*weights, percent))),
      pattern_(make_pattern(*weights, percent)),
      weights_(std::move(weights)),
      kept_(make_kept(weights_, pattern_)) {
  if (!takes_zeros(*weights_))
    throw Error(ErrorKind::invalid_argument,
                "weights are left out of f16, bf16 or a planar format whose groups or rows have scales of their own, "
                "such as int4:g64: " +
                    weights_->name());
  if (const PlanarSpec* const spec = find_planar_spec(*weights_);
      percent == 0 && spec != nullptr && spec->grain == PlanarGrain::group && spec->group % 2 != 0)
    throw Error(ErrorKind::invalid_argument,
                "two of four weights are kept in groups of an even number, twice as many columns: " + weights_->name());
  if (pattern_.dropped == 0)
    throw Error(ErrorKind::invalid_argument,
                fmt::format("groups of so few leave none out: {} % of {}", percent, pattern_.columns));
  plane_ = kept_->planes(0, 2).size();
}

std::size_t SparseFormat::kept_of(std::size_t columns) const {
  const std::size_t runs = columns / pattern_.columns, rest = columns % pattern_.columns;
  return runs * (pattern_.columns - pattern_.dropped) + rest - pattern_.dropped_of(rest);
}

FormatPtr SparseFormat::dense_format() const {
  const PlanarSpec* const spec = find_planar_spec(*weights_);
  if (spec == nullptr) return weights_;
  if (!has_point_at_zero(*spec) || spec->has_bias || spec->points == PlanarPoints::table) return nullptr;
  if (pattern_.percent != 0) return weights_;
  PlanarSpec dense = *spec;
  if (dense.grain == PlanarGrain::group) dense.group *= 2;
  return find_format(planar_name(dense));
}

QuantizedTensor SparseFormat::dense(const QuantizedView& view, const FormatPtr& dense_format) const {
  const auto cols = static_cast<std::size_t>(view.cols);
  const std::size_t span = info_.span == 0 ? cols : std::min(info_.span, cols);
  QuantizedTensor tensor(dense_format, view.rows, view.cols);
  std::vector<std::byte> grid(grid_bytes());
  std::vector<Code> codes(span);
  const float zero = 0;
  for (std::uint64_t row = 0; row < view.rows; ++row)
    for (std::size_t begin = 0; begin < cols; begin += span) {
      const std::size_t columns = std::min(span, cols - begin);
      unpack(view.row(row), begin / span, columns, nullptr, row, grid.data(), codes.data());
      const Code none = kept_->nearest(grid.data(), 0, &zero, nullptr);
      std::ranges::replace(codes, kDroppedCode, none);
      dense_format->pack(grid.data(), codes.data(), begin / span, columns, tensor.row(row));
    }
  return tensor;
}

FormatPtr SparseFormat::with_loops(const SpanLoops& loops) const {
  const auto* const looped = dynamic_cast<const LoopedFormat*>(weights_.get());
  const auto made =
      std::make_shared<SparseFormat>(looped != nullptr ? looped->with_loops(loops) : weights_, pattern_.percent);
  if (const auto* const kept = dynamic_cast<const LoopedFormat*>(kept_.get())) made->kept_ = kept->with_loops(loops);
  return made;
}

std::vector<PlaneSpec> SparseFormat::planes(std::uint64_t rows, std::uint64_t cols) const {
  if (cols % info_.row_multiple != 0)
    throw Error(ErrorKind::unsupported,
                info_.name + " keeps two of four columns, of which there is no whole number: " + std::to_string(cols));
  std::vector<PlaneSpec> planes = kept_->planes(rows, kept_of(cols));
  if (planes[0].suffix.empty()) planes[0].suffix = "values";
  const std::uint64_t bytes = (cols + 7) / 8;
  planes.push_back({"kept", DType::u8, {rows, bytes}, bytes, rows * bytes});
  return planes;
}

void SparseFormat::fit(std::span<const float> x, std::span<const float> importance, const TensorGrid* tensor_grid,
                       std::uint64_t row, const FitOptions& options, std::byte* grid, std::size_t span_index) const {
  std::vector<float> others, weights;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (x[i] == 0) continue;
    others.push_back(x[i]);
    if (!importance.empty()) weights.push_back(importance[i]);
  }
  if (others.empty()) {
    others.push_back(0);
    if (!importance.empty()) weights.push_back(1);
  }
  kept_->fit(others, weights, tensor_grid, row, options, grid, span_index);
}

Code SparseFormat::nearest(const std::byte* grid, std::size_t column, const float* target, const float* metric) const {
  return kept_->nearest(grid, kept_of(column), target, metric);
}

void SparseFormat::value(const std::byte* grid, std::size_t column, Code code, float* out) const {
  if (code == kDroppedCode)
    *out = 0;
  else
    kept_->value(grid, kept_of(column), code, out);
}

std::vector<GridPart> SparseFormat::grid_parts(const std::byte* grid, std::size_t column) const {
  return kept_->grid_parts(grid, kept_of(column));
}

void SparseFormat::pack(const std::byte* grid, const Code* codes, std::size_t span_index, std::size_t columns,
                        const RowPlanes& row) const {
  std::vector<Code> kept;
  for (std::size_t i = 0; i < columns; ++i) {
    if (codes[i] == kDroppedCode) continue;
    kept.push_back(codes[i]);
    const std::size_t column = span_index * info_.span + i;
    row[plane_][column / 8] |= static_cast<std::byte>(1u << (column % 8));
  }
  assert(kept.size() == kept_of(columns));
  kept_->pack(grid, kept.data(), span_index, kept.size(), row);
}

void SparseFormat::unpack(const ConstRowPlanes& row, std::size_t span_index, std::size_t columns,
                          const TensorGrid* tensor_grid, std::uint64_t row_index, std::byte* grid, Code* codes) const {
  std::vector<Code> kept(kept_of(columns));
  kept_->unpack(row, span_index, kept.size(), tensor_grid, row_index, grid, kept.data());
  std::size_t next = 0;
  // No more than there are, whatever a damaged mask says.
  for (std::size_t i = 0; i < columns; ++i)
    codes[i] = is_kept(row[plane_], span_index * info_.span + i) && next < kept.size() ? kept[next++] : kDroppedCode;
}

void SparseFormat::encode_row(std::span<const float> x, std::span<const float> importance,
                              const TensorGrid* tensor_grid, std::uint64_t row_index, const FitOptions& options,
                              const RowPlanes& row) const {
  std::vector<std::uint8_t> dropped(x.size());
  choose_dropped(pattern_, x, importance, dropped);
  const std::size_t span = info_.span == 0 ? x.size() : info_.span;
  std::vector<std::byte> grid(grid_bytes());
  std::vector<float> others(x.begin(), x.end());
  std::vector<Code> codes(std::min(span, x.size()));
  for (std::size_t i = 0; i < x.size(); ++i)
    if (dropped[i] != 0) others[i] = 0;
  for (std::size_t begin = 0; begin < x.size(); begin += span) {
    const std::size_t columns = std::min(span, x.size() - begin);
    fit(std::span(others).subspan(begin, columns), importance.empty() ? importance : importance.subspan(begin, columns),
        tensor_grid, row_index, options, grid.data(), begin / span);
    for (std::size_t i = 0; i < columns; ++i)
      codes[i] = dropped[begin + i] != 0 ? kDroppedCode : nearest(grid.data(), i, &others[begin + i], nullptr);
    pack(grid.data(), codes.data(), begin / span, columns, row);
  }
}

std::optional<std::string> SparseFormat::find_defect(const ConstRowPlanes& row, std::uint64_t cols) const {
  const auto columns = static_cast<std::size_t>(cols);
  if (auto defect = kept_->find_defect(row, kept_of(columns))) return defect;
  for (std::size_t first = 0; first < columns; first += pattern_.columns) {
    const std::size_t run = std::min(pattern_.columns, columns - first), wanted = run - pattern_.dropped_of(run);
    std::size_t count = 0;
    for (std::size_t i = first; i < first + run; ++i) count += is_kept(row[plane_], i) ? 1 : 0;
    if (count == wanted) continue;
    if (pattern_.percent == 0)
      return fmt::format("two of four weights should be kept, but {} are at column {}", count, first);
    return fmt::format("{} of {} weights should be kept, but {} are at column {}", wanted, run, count, first);
  }
  return std::nullopt;
}

bool is_sparse_part(std::string_view part) { return part.substr(0, part.find(':')) == kWord; }

FormatPtr make_sparse_format(std::string_view spelling) {
  const std::size_t plus = spelling.find('+');
  if (plus == std::string_view::npos || !is_sparse_part(spelling.substr(plus + 1))) return nullptr;
  std::string_view shape = spelling.substr(plus + 1 + kWord.size());
  if (!shape.empty()) shape.remove_prefix(1);
  unsigned percent = 0;
  if (shape != kTwoOfFour) {
    const auto [end, error] = std::from_chars(shape.data(), shape.data() + shape.size(), percent);
    if (error != std::errc() || std::string_view(end, shape.data() + shape.size()) != "%" || percent < kLeastPercent ||
        percent > kMostPercent)
      throw Error(ErrorKind::invalid_argument,
                  fmt::format("of sparse weights two of four are left out, sparse:2:4, or a share of {} to {} %, as in "
                              "sparse:50%; other patterns have no format: '{}'",
                              kLeastPercent, kMostPercent, shape));
  }
  return std::make_shared<SparseFormat>(find_format(spelling.substr(0, plus)), percent);
}

}  // namespace nibble
