// SPDX-License-Identifier: Apache-2.0
#include "format/outlier_format.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>

#include "format/planar/format.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::string_view kWord = "outliers", kShare = "outliers:";
constexpr unsigned kWhole = 10000;  // hundredths of a percent

// 50 -> "0.5%".
std::string share_text(unsigned share) {
  std::string text = std::to_string(share / 100);
  if (share % 100 != 0) text += (share % 100 < 10 ? ".0" : ".") + std::to_string(share % 100);
  if (share % 100 != 0 && text.back() == '0') text.pop_back();
  return text + "%";
}

[[noreturn]] void refuse(std::string_view share, const std::string& why) {
  throw Error(ErrorKind::invalid_argument, why + ": '" + std::string(share) + "'");
}

unsigned parse_share(std::string_view text) {
  const char* const shape = "the share of outliers should be a percentage of at most two places, such as 0.5%";
  std::string_view number = text;
  if (!number.ends_with('%')) refuse(text, shape);
  number.remove_suffix(1);
  const std::size_t point = number.find('.');
  const std::string_view whole = number.substr(0, point),
                         places = point == std::string_view::npos ? "" : number.substr(point + 1);
  const auto are_digits = [](std::string_view digits) {
    return std::ranges::all_of(digits, [](char c) { return c >= '0' && c <= '9'; });
  };
  if (whole.empty() || whole.size() > 3 || !are_digits(whole) || !are_digits(places) || places.size() > 2 ||
      (point != std::string_view::npos && places.empty()))
    refuse(text, shape);
  unsigned share = 0;
  for (const char c : std::string(whole) + (std::string(places) + "00").substr(0, 2))
    share = share * 10 + static_cast<unsigned>(c - '0');
  if (share == 0) refuse(text, "a share of no outliers is said by leaving it out");
  if (share > kMostOutliers) refuse(text, "at most " + share_text(kMostOutliers) + " of the weights may be outliers");
  return share;
}

// Where scales come from that are no group's or row's own.
std::string scales_elsewhere(const PlanarSpec& spec) {
  if (spec.scale == ScaleType::s6 || spec.scale == ScaleType::s8) return " are multiples of their row's number";
  if (spec.scale == ScaleType::dq) return " are rounded on a grid of the whole tensor";
  return " belong to more than a row";
}

FormatInfo make_info(const Format& weights, unsigned share) {
  FormatInfo info = weights.info();
  info.name += "+" + std::string(kShare) + share_text(share);
  info.description += "; " + share_text(share) + " of the weights put right by 16 bits";
  info.bits_per_weight += 32.0 * share / kWhole;
  info.row_unit = kOutlierRows;
  return info;
}

// A share of a number of weights, rounded.
std::size_t part_of(unsigned share, std::uint64_t weights) {
  return static_cast<std::size_t>((weights * share + kWhole / 2) / kWhole);
}

}  // namespace

std::optional<std::string> OutlierLayout::judge(const std::byte* tile) const {
  std::size_t entry = 0;
  for (std::size_t row = 0; row < kOutlierRows; ++row) {
    const std::size_t here = count(tile, row);
    if (here > places - entry)
      return "the rows around have more outliers than there are places: " + std::to_string(places) + " for " +
             std::to_string(kOutlierRows) + " rows";
    for (std::size_t i = entry; i < entry + here; ++i) {
      if (column(tile, i) >= cols)
        return "an outlier of the rows around has a column that is not there: " + std::to_string(column(tile, i)) +
               " of " + std::to_string(cols);
      if (i > entry && column(tile, i) <= column(tile, i - 1))
        return "the outliers of the rows around do not ascend: column " + std::to_string(column(tile, i)) +
               " follows " + std::to_string(column(tile, i - 1));
      if (!std::isfinite(addend(tile, i)))
        return "an outlier of the rows around is not finite: column " + std::to_string(column(tile, i));
    }
    entry += here;
  }
  for (; entry < places; ++entry)
    if (column(tile, entry) != 0 || word(addends(tile) + 2 * entry) != 0)
      return "behind the outliers of the rows around is something else than zeros";
  return std::nullopt;
}

OutlierFormat::OutlierFormat(FormatPtr weights, unsigned share)
    : Format(make_info(*weights, share)), weights_(std::move(weights)), share_(share) {
  assert(share > 0 && share <= kMostOutliers);
  const PlanarSpec* const spec = find_planar_spec(*weights_);
  if (spec == nullptr)
    throw Error(ErrorKind::invalid_argument,
                "outliers are kept beside planar formats, such as int3:g128; this is none: " + weights_->name());
  if (weights_->needs_prepare() || weights_->cut_multiple(1) != 1)
    throw Error(ErrorKind::invalid_argument,
                "outliers are kept beside formats whose groups or rows have scales of their own; those of " +
                    weights_->name() + scales_elsewhere(*spec));
  plane_ = weights_->planes(0, 1).size();
}

std::optional<std::string> OutlierFormat::find_tail_defect(const std::byte* tile, std::uint64_t rows,
                                                           std::uint64_t cols) const {
  const OutlierLayout layout = this->layout(cols);
  for (std::size_t row = rows % kOutlierRows; row != 0 && row < kOutlierRows; ++row)
    if (layout.count(tile, row) != 0)
      return "outliers are counted in a row that is not there: row " +
             std::to_string(rows / kOutlierRows * kOutlierRows + row) + " of " + std::to_string(rows);
  return std::nullopt;
}

OutlierLayout OutlierFormat::layout(std::uint64_t cols) const {
  OutlierLayout layout{static_cast<std::size_t>(cols), places(kOutlierRows, cols), 1};
  // Rows that have four times their share are counted in a byte.
  if (layout.places > kOutlierRows * 64) layout.count_bytes = 2;
  return layout;
}

std::size_t OutlierFormat::places(std::size_t rows, std::uint64_t cols) const {
  return std::max<std::size_t>(1, part_of(share_, rows * cols));
}

void OutlierFormat::write(std::span<const Outlier> outliers, std::uint64_t cols, const RowPlanes& tile) const {
  const OutlierLayout layout = this->layout(cols);
  assert(outliers.size() <= layout.places);
  std::byte* const out = tile[plane_];
  std::memset(out, 0, layout.bytes());
  std::array<std::uint16_t, kOutlierRows> counts{};
  for (std::size_t i = 0; i < outliers.size(); ++i) {
    ++counts[outliers[i].row];
    const std::uint16_t addend = f32_to_f16(outliers[i].addend);
    std::memcpy(out + kOutlierRows * layout.count_bytes + 2 * i, &outliers[i].column, 2);
    std::memcpy(out + kOutlierRows * layout.count_bytes + 2 * (layout.places + i), &addend, 2);
  }
  for (std::size_t row = 0; row < kOutlierRows; ++row) {
    assert(counts[row] <= layout.most_of_row());
    std::memcpy(out + row * layout.count_bytes, &counts[row], layout.count_bytes);  // little-endian
  }
}

FormatPtr OutlierFormat::with_loops(const SpanLoops& loops) const {
  return std::make_shared<OutlierFormat>(dynamic_cast<const LoopedFormat&>(*weights_).with_loops(loops), share_);
}

std::vector<PlaneSpec> OutlierFormat::planes(std::uint64_t rows, std::uint64_t cols) const {
  if (cols > kOutlierColumns)
    throw Error(ErrorKind::unsupported, info_.name + " has rows of at most " + std::to_string(kOutlierColumns) +
                                            " columns, by whose numbers it names outliers: " + std::to_string(cols));
  std::vector<PlaneSpec> planes = weights_->planes(rows, cols);
  const std::uint64_t tiles = (rows + kOutlierRows - 1) / kOutlierRows, bytes = layout(cols).bytes();
  planes.push_back({"outliers", DType::u8, {tiles, bytes}, bytes, tiles * bytes, kOutlierRows});
  return planes;
}

void OutlierFormat::fit(std::span<const float> x, std::span<const float> importance, const TensorGrid* tensor_grid,
                        std::uint64_t row, const FitOptions& options, std::byte* grid, std::size_t span_index) const {
  weights_->fit(x, importance, tensor_grid, row, options, grid, span_index);
}

Code OutlierFormat::nearest(const std::byte* grid, std::size_t column, const float* target, const float* metric) const {
  return weights_->nearest(grid, column, target, metric);
}

void OutlierFormat::value(const std::byte* grid, std::size_t column, Code code, float* out) const {
  weights_->value(grid, column, code, out);
}

std::vector<GridPart> OutlierFormat::grid_parts(const std::byte* grid, std::size_t column) const {
  return weights_->grid_parts(grid, column);
}

void OutlierFormat::pack(const std::byte* grid, const Code* codes, std::size_t span_index, std::size_t columns,
                         const RowPlanes& row) const {
  weights_->pack(grid, codes, span_index, columns, row);
}

void OutlierFormat::unpack(const ConstRowPlanes& row, std::size_t span_index, std::size_t columns,
                           const TensorGrid* tensor_grid, std::uint64_t row_index, std::byte* grid, Code* codes) const {
  weights_->unpack(row, span_index, columns, tensor_grid, row_index, grid, codes);
}

void OutlierFormat::encode_row(std::span<const float> x, std::span<const float> importance,
                               const TensorGrid* tensor_grid, std::uint64_t row_index, const FitOptions& options,
                               const RowPlanes& row) const {
  weights_->encode_row(x, importance, tensor_grid, row_index, options, row);
}

void OutlierFormat::decode_row(const ConstRowPlanes& row, const TensorGrid* tensor_grid, std::uint64_t row_index,
                               std::span<float> out) const {
  weights_->decode_row(row, tensor_grid, row_index, out);
  const OutlierLayout layout = this->layout(out.size());
  const std::byte* const tile = this->tile(row);
  const std::size_t own = row_index % kOutlierRows;
  for (std::size_t i = layout.begin(tile, own); i < layout.end(tile, own); ++i)
    if (const std::size_t column = layout.column(tile, i); column < out.size()) out[column] += layout.addend(tile, i);
}

std::optional<std::string> OutlierFormat::find_defect(const ConstRowPlanes& row, std::uint64_t cols) const {
  if (auto defect = weights_->find_defect(row, cols)) return defect;
  return layout(cols).judge(tile(row));
}

bool is_outlier_part(std::string_view part) { return part == kWord || part.starts_with(kShare); }

FormatPtr make_outlier_format(std::string_view spelling) {
  const std::size_t plus = spelling.find('+');
  if (plus == std::string_view::npos || !is_outlier_part(spelling.substr(plus + 1))) return nullptr;
  std::string_view share = spelling.substr(plus + 1 + kWord.size());
  if (!share.empty()) share.remove_prefix(1);
  const unsigned parsed = parse_share(share);
  return std::make_shared<OutlierFormat>(find_format(spelling.substr(0, plus)), parsed);
}

}  // namespace nibble
