// SPDX-License-Identifier: Apache-2.0
#include "format/format.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <numeric>

#include "base/letter_case.h"
#include "base/near_names.h"
#include "format/all.h"
#include "format/block_format.h"
#include "format/lattice/lattice_format.h"
#include "format/outlier_format.h"
#include "format/planar/format.h"
#include "format/raw.h"
#include "format/sparse_format.h"
#include "format/trellis/trellis_format.h"
#include "nibble/error.h"

namespace nibble {

// --- defaults --------------------------------------------------------------------------------------------------------

std::unique_ptr<TensorGrid> Format::prepare(std::span<const float>, std::uint64_t, std::uint64_t,
                                            std::span<const float>, const FitOptions&) const {
  return nullptr;
}

void Format::pack_tensor(const TensorGrid*, const RowPlanes&) const {}

std::unique_ptr<TensorGrid> Format::unpack_tensor(const ConstRowPlanes&, std::uint64_t, std::uint64_t) const {
  return nullptr;
}

std::vector<GridPart> Format::grid_parts(const std::byte*, std::size_t) const { return {}; }

namespace {

std::size_t span_columns(const FormatInfo& info, std::size_t cols) {
  return std::max<std::size_t>(1, info.span == 0 ? cols : std::min(info.span, cols));
}

// Holds one span's grid and codes, aligned as `new` aligns.
struct SpanBuffer {
  SpanBuffer(const Format& format, std::size_t columns)
      : grid(format.grid_bytes()), codes((columns + format.info().unit - 1) / format.info().unit) {}
  std::vector<std::byte> grid;
  std::vector<Code> codes;
};

}  // namespace

void Format::encode_row(std::span<const float> x, std::span<const float> importance, const TensorGrid* tensor_grid,
                        std::uint64_t row_index, const FitOptions& options, const RowPlanes& row) const {
  const std::size_t span = span_columns(info_, x.size());
  SpanBuffer buffer(*this, span);
  for (std::size_t begin = 0; begin < x.size(); begin += span) {
    const std::size_t columns = std::min(span, x.size() - begin);
    const auto piece = x.subspan(begin, columns);
    fit(piece, importance.empty() ? importance : importance.subspan(begin, columns), tensor_grid, row_index, options,
        buffer.grid.data(), begin / span);
    for (std::size_t i = 0; i < columns; i += info_.unit)
      buffer.codes[i / info_.unit] = nearest(buffer.grid.data(), i, &piece[i], nullptr);
    pack(buffer.grid.data(), buffer.codes.data(), begin / span, columns, row);
  }
}

void Format::decode_row(const ConstRowPlanes& row, const TensorGrid* tensor_grid, std::uint64_t row_index,
                        std::span<float> out) const {
  const std::size_t span = span_columns(info_, out.size());
  SpanBuffer buffer(*this, span);
  for (std::size_t begin = 0; begin < out.size(); begin += span) {
    const std::size_t columns = std::min(span, out.size() - begin);
    unpack(row, begin / span, columns, tensor_grid, row_index, buffer.grid.data(), buffer.codes.data());
    for (std::size_t i = 0; i < columns; i += info_.unit)
      value(buffer.grid.data(), i, buffer.codes[i / info_.unit], &out[begin + i]);
  }
}

std::optional<std::string> Format::find_defect(const ConstRowPlanes&, std::uint64_t) const { return std::nullopt; }

std::optional<std::string> Format::find_tensor_defect(const TensorGrid*) const { return std::nullopt; }

void throw_row_not_multiple(const FormatInfo& info, std::uint64_t cols) {
  throw Error(ErrorKind::unsupported, info.name + " needs rows whose length is a multiple of " +
                                          std::to_string(info.row_multiple) + "; this length leaves " +
                                          std::to_string(cols % info.row_multiple) + " over: " + std::to_string(cols));
}

std::optional<std::size_t> first_not_finite(std::span<const float> values) {
  // Sums of zeros: x * 0 is NaN exactly when x is not finite. Blockwise, so that the common case needs no branches.
  constexpr std::size_t kBlock = 4096;
  for (std::size_t begin = 0; begin < values.size(); begin += kBlock) {
    const auto block = values.subspan(begin, std::min(kBlock, values.size() - begin));
    float lanes[16] = {};
    std::size_t i = 0;
    for (; i + 16 <= block.size(); i += 16)
      for (std::size_t j = 0; j < 16; ++j) lanes[j] += block[i + j] * 0.0f;
    for (; i < block.size(); ++i) lanes[0] += block[i] * 0.0f;
    if (std::accumulate(std::begin(lanes), std::end(lanes), 0.0f) == 0) continue;
    for (std::size_t j = 0; j < block.size(); ++j)
      if (!std::isfinite(block[j])) return begin + j;
  }
  return std::nullopt;
}

// --- the list --------------------------------------------------------------------------------------------------------

namespace {

const std::vector<FormatPtr>& fixed_formats() {
  static const std::vector<FormatPtr> kFormats = [] {
    std::vector<FormatPtr> formats = {make_raw_format(DType::f32), make_raw_format(DType::f16),
                                      make_raw_format(DType::bf16)};
#define NIBBLE_ADD(name) formats.push_back(make_##name());
    NIBBLE_BLOCK_FORMATS(NIBBLE_ADD)
#undef NIBBLE_ADD
    return formats;
  }();
  return kFormats;
}

// The closest known names, at most four, as "; near it are a, b"; one that has more behind it than it takes, as
// "; 'a' is one, without ':b'".
std::string near_names(std::string_view spelling) {
  std::vector<std::pair<std::size_t, std::string>> ranked;
  const std::string_view stem = spelling.substr(0, spelling.rfind(':'));
  for (const FormatPtr& format : list_formats()) {
    if (format->name() == stem)
      return "; '" + std::string(stem) + "' is one, without '" + std::string(spelling.substr(stem.size())) + "'";
    ranked.emplace_back(edit_distance(spelling, format->name()), format->name());
  }
  std::sort(ranked.begin(), ranked.end());
  std::string names;
  for (std::size_t i = 0; i < std::min<std::size_t>(4, ranked.size()); ++i) {
    if (ranked[i].first > std::max<std::size_t>(2, spelling.size() / 2)) break;
    names += (names.empty() ? "" : ", ") + ranked[i].second;
  }
  return names.empty() ? std::string("; `nibble formats` lists them all") : "; near it are " + names;
}

}  // namespace

FormatPtr find_format(std::string_view spelling) {
  if (spelling.size() > 64)
    throw Error(ErrorKind::invalid_argument,
                "a format's name has at most 64 letters, this one has " + std::to_string(spelling.size()));
  const std::string name = lower_case(spelling);
  for (const FormatPtr& format : fixed_formats())
    if (format->name() == name) return format;
  if (FormatPtr with_outliers = make_outlier_format(name)) return with_outliers;
  if (FormatPtr sparse = make_sparse_format(name)) return sparse;
  if (const auto plus = name.find('+'); plus != std::string::npos) {
    throw Error(
        ErrorKind::invalid_argument,
        "what follows '+' is the format of activations, which a weight's format does not have; leave it out here: " +
            name);
  }
  if (FormatPtr planar = make_planar_format(name)) return planar;
  if (FormatPtr trellis = make_trellis_format(name)) return trellis;
  if (FormatPtr lattice = make_lattice_format(name)) return lattice;
  throw Error(ErrorKind::invalid_argument, "no format has this name: " + name + near_names(name));
}

FormatPtr find_ggml_format(std::uint32_t ggml_type) {
  for (const FormatPtr& format : fixed_formats())
    if (format->info().ggml_type == ggml_type) return format;
  return nullptr;
}

FormatPtr find_raw_format(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return fixed_formats()[0];
    case DType::f16:
      return fixed_formats()[1];
    case DType::bf16:
      return fixed_formats()[2];
    default:
      return nullptr;
  }
}

std::vector<FormatPtr> list_formats() {
  std::vector<FormatPtr> formats = fixed_formats();
  for (const std::string_view spelling : kUsualPlanarFormats) formats.push_back(make_planar_format(spelling));
  for (const std::string_view spelling : kUsualTrellisFormats) formats.push_back(make_trellis_format(spelling));
  for (const std::string_view spelling : kLatticeFormats) formats.push_back(make_lattice_format(spelling));
  return formats;
}

}  // namespace nibble
