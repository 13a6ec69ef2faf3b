// SPDX-License-Identifier: Apache-2.0
#include "format/sparse_format.h"

#include <algorithm>
#include <array>
#include <cassert>

#include "format/planar/format.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::string_view kWord = "sparse", kShape = "2:4";

FormatInfo make_info(const Format& kept) {
  FormatInfo info = kept.info();
  info.kind = FormatKind::planar;
  info.name += "+" + std::string(kWord) + ":" + std::string(kShape);
  info.description += "; two of four weights are 0 and take a bit";
  info.bits_per_weight = info.bits_per_weight / 2 + 1;
  info.span = kept.info().kind == FormatKind::raw ? 0 : 2 * kept.info().span;
  info.row_multiple = kSparseRun;
  info.ggml_type = info.ggml_ftype = std::nullopt;
  return info;
}

bool is_kept(const std::byte* mask, std::size_t column) {
  return (std::to_integer<unsigned>(mask[column / 8]) >> (column % 8) & 1u) != 0;
}

}  // namespace

void choose_dropped(std::span<const float> row, std::span<const float> costs, std::span<std::uint8_t> dropped) {
  assert(row.size() % kSparseRun == 0 && dropped.size() == row.size());
  for (std::size_t first = 0; first < row.size(); first += kSparseRun) {
    std::array<float, kSparseRun> losses{};
    for (std::size_t i = 0; i < kSparseRun; ++i) {
      losses[i] = row[first + i] * row[first + i] * (costs.empty() ? 1 : costs[first + i]);
      dropped[first + i] = 0;
    }
    for (std::size_t count = kSparseKept; count < kSparseRun; ++count) {
      std::size_t least = kSparseRun;
      for (std::size_t i = 0; i < kSparseRun; ++i)
        if (dropped[first + i] == 0 && (least == kSparseRun || losses[i] < losses[least])) least = i;
      dropped[first + least] = 1;
    }
  }
}

SparseFormat::SparseFormat(FormatPtr kept) : Format(make_info(*kept)), kept_(std::move(kept)) {
  const bool is_half = kept_->name() == "f16" || kept_->name() == "bf16";
  if (!is_half && (find_planar_spec(*kept_) == nullptr || kept_->needs_prepare() || kept_->cut_multiple(1) != 1))
    throw Error(ErrorKind::invalid_argument,
                "two of four weights are kept in f16, bf16 or a planar format whose groups or rows have scales of "
                "their own, such as int4:g64: " +
                    kept_->name());
  plane_ = kept_->planes(0, 2).size();
}

FormatPtr SparseFormat::dense_format() const {
  const PlanarSpec* const spec = find_planar_spec(*kept_);
  if (spec == nullptr) return kept_;
  if (!has_point_at_zero(*spec) || spec->has_bias || spec->points == PlanarPoints::table) return nullptr;
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
  const auto* const looped = dynamic_cast<const LoopedFormat*>(kept_.get());
  return std::make_shared<SparseFormat>(looped != nullptr ? looped->with_loops(loops) : kept_);
}

std::vector<PlaneSpec> SparseFormat::planes(std::uint64_t rows, std::uint64_t cols) const {
  if (cols % kSparseRun != 0)
    throw Error(ErrorKind::unsupported,
                info_.name + " keeps two of four columns, of which there is no whole number: " + std::to_string(cols));
  std::vector<PlaneSpec> planes = kept_->planes(rows, cols / 2);
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
  return kept_->nearest(grid, column / 2, target, metric);
}

void SparseFormat::value(const std::byte* grid, std::size_t column, Code code, float* out) const {
  if (code == kDroppedCode)
    *out = 0;
  else
    kept_->value(grid, column / 2, code, out);
}

std::vector<GridPart> SparseFormat::grid_parts(const std::byte* grid, std::size_t column) const {
  return kept_->grid_parts(grid, column / 2);
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
  assert(2 * kept.size() == columns);
  kept_->pack(grid, kept.data(), span_index, kept.size(), row);
}

void SparseFormat::unpack(const ConstRowPlanes& row, std::size_t span_index, std::size_t columns,
                          const TensorGrid* tensor_grid, std::uint64_t row_index, std::byte* grid, Code* codes) const {
  std::vector<Code> kept(columns / 2);
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
  choose_dropped(x, importance, dropped);
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
  if (auto defect = kept_->find_defect(row, cols / 2)) return defect;
  for (std::size_t first = 0; first < cols; first += kSparseRun) {
    std::size_t count = 0;
    for (std::size_t i = first; i < first + kSparseRun; ++i) count += is_kept(row[plane_], i) ? 1 : 0;
    if (count != kSparseKept)
      return "two of four weights should be kept, but " + std::to_string(count) + " are at column " +
             std::to_string(first);
  }
  return std::nullopt;
}

bool is_sparse_part(std::string_view part) { return part.substr(0, part.find(':')) == kWord; }

FormatPtr make_sparse_format(std::string_view spelling) {
  const std::size_t plus = spelling.find('+');
  if (plus == std::string_view::npos || !is_sparse_part(spelling.substr(plus + 1))) return nullptr;
  std::string_view shape = spelling.substr(plus + 1 + kWord.size());
  if (!shape.empty()) shape.remove_prefix(1);
  if (shape != kShape)
    throw Error(ErrorKind::invalid_argument,
                "of sparse weights two of four are kept, sparse:2:4; other patterns have no format: '" +
                    std::string(shape) + "'");
  return std::make_shared<SparseFormat>(find_format(spelling.substr(0, plus)));
}

}  // namespace nibble
