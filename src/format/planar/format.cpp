// SPDX-License-Identifier: Apache-2.0
#include "format/planar/format.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/half.h"
#include "format/bit_pack.h"
#include "format/clip.h"
#include "format/planar/dynamic_map.h"
#include "format/planar/planes.h"
#include "format/planar/points.h"
#include "format/planar/tensor_grid.h"
#include "format/scale.h"
#include "nibble/error.h"

namespace nibble {

namespace {

constexpr std::size_t kChunk = 256;  // columns worked on at a time

bool is_plain(FitRule rule) { return rule == FitRule::absmax || rule == FitRule::minmax; }

FormatInfo make_info(const PlanarSpec& spec) {
  FormatInfo info;
  info.name = planar_name(spec);
  info.description = planar_description(spec);
  info.kind = FormatKind::planar;
  info.span = spec.has_groups() ? spec.group : 0;
  if (spec.grain == PlanarGrain::block) info.row_unit = spec.block_rows;
  info.bits_per_weight = spec.bits;
  const bool is_table = spec.points == PlanarPoints::table;
  if (spec.has_groups()) {
    const unsigned per_group = is_table        ? scale_bits(spec.scale) << spec.bits
                               : spec.has_bias ? 2 * scale_bits(spec.scale)
                                               : scale_bits(spec.scale) + (spec.is_asymmetric ? spec.bits : 0);
    info.bits_per_weight +=
        static_cast<double>(per_group) / (static_cast<double>(spec.group) * static_cast<double>(info.row_unit));
    if (spec.scale == ScaleType::dq) info.bits_per_weight += 32.0 / static_cast<double>(kNestedGroups * spec.group);
  }
  if (!is_table && (spec.scale == ScaleType::f16)) {
    const CodeRange range = code_range(spec);
    const PointTable* table = point_table(spec);
    double largest = spec.points == PlanarPoints::binary ? 1.0 : range.hi - range.middle;
    if (table != nullptr) largest = static_cast<double>(table->max());
    // A zero point moves the range: as much on either side is held whatever it is.
    if (spec.is_asymmetric) largest = (range.hi - range.lo) / 2.0;
    if (spec.has_bias) largest = 1;  // the bias is an end of the range
    info.max_magnitude = largest * static_cast<double>(kMaxF16);
  }
  return info;
}

}  // namespace

PlanarFormat::PlanarFormat(const PlanarSpec& spec, const SpanLoops& loops)
    : Format(make_info(spec)), spec_(spec), range_(code_range(spec)), fixed_table_(point_table(spec)), loops_(loops) {
  info_.first_code = first_integer();
}

std::int32_t PlanarFormat::first_integer() const noexcept {
  if (spec_.points == PlanarPoints::ternary) return -1;
  if (spec_.points != PlanarPoints::integer || spec_.is_unsigned || spec_.has_bias) return 0;
  return -range_.middle;
}

std::uint64_t PlanarFormat::groups(std::uint64_t cols) const noexcept {
  return spec_.has_groups() ? cols / spec_.group + (cols % spec_.group != 0 ? 1 : 0) : 1;
}

std::vector<PlaneSpec> PlanarFormat::planes(std::uint64_t rows, std::uint64_t cols) const {
  checked_elements({rows, cols, 64}, info_.name);  // no size below can overflow after this
  std::vector<PlaneSpec> specs;
  const auto add_for = [&](std::uint64_t row_unit, const char* suffix, DType dtype,
                           const std::vector<std::uint64_t>& per_row) {
    const std::uint64_t units = rows / row_unit + (rows % row_unit != 0 ? 1 : 0);
    PlaneSpec spec{suffix, dtype, {units}, dtype_size(dtype), 0, row_unit};
    for (const std::uint64_t extent : per_row) {
      spec.shape.push_back(extent);
      spec.row_bytes *= extent;
    }
    spec.bytes = units * spec.row_bytes;
    specs.push_back(std::move(spec));
  };
  const auto add = [&](const char* suffix, DType dtype, const std::vector<std::uint64_t>& per_row) {
    add_for(info_.row_unit, suffix, dtype, per_row);
  };
  const auto packed = [](std::uint64_t count, unsigned bits) { return count / 8 * bits + (count % 8 * bits + 7) / 8; };
  add_for(1, "codes", DType::u8, {packed(cols, spec_.bits)});
  const std::uint64_t num_groups = groups(cols);
  if (has_table()) {
    add("table", scale_dtype(spec_.scale), {num_groups, std::uint64_t{1} << spec_.bits});
  } else if (spec_.grain == PlanarGrain::tensor) {
    const DType dtype = scale_dtype(spec_.scale);
    specs.push_back({"scales", dtype, {1}, 0, dtype_size(dtype)});
    if (spec_.is_asymmetric) specs.push_back({"zeros", DType::u8, {1}, 0, 1});
    if (spec_.has_bias) specs.push_back({"biases", dtype, {1}, 0, dtype_size(dtype)});
  } else {
    add("scales", scale_dtype(spec_.scale), {spec_.scale == ScaleType::s6 ? packed(num_groups, 6) : num_groups});
    if (spec_.is_asymmetric) add("zeros", DType::u8, {packed(num_groups, spec_.bits)});
    if (spec_.has_bias) add("biases", scale_dtype(spec_.scale), {num_groups});
    if (is_two_level()) add("base", DType::f32, {});
    if (is_double()) {
      const std::uint64_t num_nested = (rows * num_groups + kNestedGroups - 1) / kNestedGroups;
      specs.push_back({"nested", DType::f32, {num_nested}, 0, 4 * num_nested});
      specs.push_back({"offset", DType::f32, {1}, 0, 4});
    }
  }
  return specs;
}

// A nested scale's groups stay together.
std::uint64_t PlanarFormat::cut_multiple(std::uint64_t cols) const {
  return is_double() ? kNestedGroups / std::gcd(kNestedGroups, groups(cols)) : info_.row_unit;
}

// --- codes -----------------------------------------------------------------------------------------------------------

void PlanarFormat::find_codes(const PlanarGrid& grid, const float* table, std::span<const float> x,
                              std::uint8_t* codes) const {
  switch (spec_.points) {
    case PlanarPoints::ternary:
      for (std::size_t i = 0; i < x.size(); ++i)
        codes[i] = static_cast<std::uint8_t>(1 + (x[i] > grid.threshold ? 1 : 0) - (x[i] < -grid.threshold ? 1 : 0));
      return;
    case PlanarPoints::binary:
      for (std::size_t i = 0; i < x.size(); ++i) codes[i] = x[i] >= 0 ? 1 : 0;
      return;
    case PlanarPoints::table:
      for (std::size_t i = 0; i < x.size(); ++i) {
        std::size_t best = 0;
        for (std::size_t k = 1; k < num_table_points(); ++k)
          if (std::fabs(x[i] - table[k]) < std::fabs(x[i] - table[best])) best = k;
        codes[i] = static_cast<std::uint8_t>(best);
      }
      return;
    default:
      if (spec_.has_bias) return find_codes_above(grid, x, codes);
      loops_.codes(x.data(), x.size(), unit_points(spec_, grid.zero), grid.scale, codes);
  }
}

void PlanarFormat::find_codes_above(const PlanarGrid& grid, std::span<const float> x, std::uint8_t* codes) const {
  float above[kChunk];
  for (std::size_t begin = 0; begin < x.size(); begin += kChunk) {
    const std::size_t count = std::min(kChunk, x.size() - begin);
    for (std::size_t i = 0; i < count; ++i) above[i] = x[begin + i] - grid.bias;
    loops_.codes(above, count, unit_points(spec_, 0), grid.scale, codes + begin);
  }
}

void PlanarFormat::find_values(const PlanarGrid& grid, const float* table, std::span<const std::uint8_t> codes,
                               float* out) const {
  switch (spec_.points) {
    case PlanarPoints::integer:
    case PlanarPoints::ternary:
      if (spec_.has_bias) {
        for (std::size_t i = 0; i < codes.size(); ++i) out[i] = grid.scale * static_cast<float>(codes[i]) + grid.bias;
        return;
      }
      for (std::size_t i = 0; i < codes.size(); ++i) out[i] = grid.scale * static_cast<float>(codes[i] - grid.zero);
      return;
    case PlanarPoints::binary:
      for (std::size_t i = 0; i < codes.size(); ++i) out[i] = codes[i] != 0 ? grid.scale : -grid.scale;
      return;
    case PlanarPoints::table:
      for (std::size_t i = 0; i < codes.size(); ++i) out[i] = table[codes[i]];
      return;
    default:
      for (std::size_t i = 0; i < codes.size(); ++i) out[i] = grid.scale * fixed_table_->value(codes[i]);
  }
}

Code PlanarFormat::nearest(const std::byte* grid, std::size_t, const float* target, const float*) const {
  std::uint8_t code;
  find_codes(*reinterpret_cast<const PlanarGrid*>(grid), reinterpret_cast<const float*>(grid + sizeof(PlanarGrid)),
             {target, 1}, &code);
  return code;
}

void PlanarFormat::value(const std::byte* grid, std::size_t, Code code, float* out) const {
  const auto byte = static_cast<std::uint8_t>(code);
  find_values(*reinterpret_cast<const PlanarGrid*>(grid), reinterpret_cast<const float*>(grid + sizeof(PlanarGrid)),
              {&byte, 1}, out);
}

std::vector<GridPart> PlanarFormat::grid_parts(const std::byte* bytes, std::size_t) const {
  const auto& grid = *reinterpret_cast<const PlanarGrid*>(bytes);
  std::vector<GridPart> parts;
  if (has_table()) return parts;
  if (is_two_level()) {
    parts.push_back({"base of the row", static_cast<double>(grid.base)});
    parts.push_back({"integer of the group", std::nearbyint(static_cast<double>(grid.scale / grid.base))});
  }
  if (is_double()) {
    parts.push_back({"scale of 256 scales", static_cast<double>(grid.base)});
    parts.push_back({"offset of all scales", static_cast<double>(grid.offset)});
  }
  parts.push_back({"scale", static_cast<double>(grid.scale)});
  if (spec_.is_asymmetric) parts.push_back({"zero point", static_cast<double>(grid.zero + first_integer())});
  if (spec_.has_bias) parts.push_back({"bias", static_cast<double>(grid.bias)});
  return parts;
}

// --- bytes -----------------------------------------------------------------------------------------------------------

void PlanarFormat::pack(const std::byte* grid, const Code* codes, std::size_t span_index, std::size_t columns,
                        const RowPlanes& row) const {
  if (!has_shared_grids())
    write_grid(*reinterpret_cast<const PlanarGrid*>(grid), reinterpret_cast<const float*>(grid + sizeof(PlanarGrid)),
               span_index, row);
  pack_bits(codes, columns, spec_.bits, span_index * spec_.group * spec_.bits, row[kCodes]);
}

void PlanarFormat::unpack(const ConstRowPlanes& row, std::size_t span_index, std::size_t columns,
                          const TensorGrid* tensor_grid, std::uint64_t row_index, std::byte* grid, Code* codes) const {
  float table[16];
  const std::uint64_t first_group =
      is_double() ? row_index * static_cast<const PlanarTensorGrid&>(*tensor_grid).groups : 0;
  const PlanarGrid unpacked = read_grid(row, span_index, first_group, table);
  std::memcpy(grid, &unpacked, sizeof(unpacked));
  std::memcpy(grid + sizeof(PlanarGrid), table, sizeof(float) * num_table_points());
  unpack_bits(row[kCodes], span_index * spec_.group * spec_.bits, columns, spec_.bits, codes);
}

void PlanarFormat::encode_row(std::span<const float> x, std::span<const float> importance,
                              const TensorGrid* tensor_grid, std::uint64_t row_index, const FitOptions& given,
                              const RowPlanes& row) const {
  struct {
    PlanarGrid grid;
    float table[16];
  } fitted;
  const std::size_t span = span_columns(x.size());
  const FitOptions options = has_shared_grids() ? given : clip_for_row(x, entropy_levels(), given);
  std::vector<std::uint8_t> codes(std::min(span, x.size()));
  for (std::size_t begin = 0, index = 0; begin < x.size(); begin += span, ++index) {
    const auto piece = x.subspan(begin, std::min(span, x.size() - begin));
    const auto weights = importance.empty() ? importance : importance.subspan(begin, piece.size());
    fit(piece, weights, tensor_grid, row_index, options, reinterpret_cast<std::byte*>(&fitted), index);
    PlanarGrid coding = fitted.grid;
    // bitsandbytes chooses codes with scales that are not yet doubly quantized; the plain rule gives its bytes.
    if (is_double() && is_plain(options.rule))
      coding.scale = fit_planar(spec_, piece, weights, options, {}, loops_).scale;
    find_codes(coding, fitted.table, piece, codes.data());
    if (!has_shared_grids()) write_grid(fitted.grid, fitted.table, index, row);
    pack_bits(codes.data(), piece.size(), spec_.bits, begin * spec_.bits, row[kCodes]);
  }
}

void PlanarFormat::decode_row(const ConstRowPlanes& row, const TensorGrid*, std::uint64_t row_index,
                              std::span<float> out) const {
  const std::size_t span = span_columns(out.size());
  std::uint8_t codes[kChunk];
  float table[16];
  for (std::size_t begin = 0, index = 0; begin < out.size(); begin += span, ++index) {
    const PlanarGrid grid = read_grid(row, index, row_index * groups(out.size()), table);
    const std::size_t end = std::min(out.size(), begin + span);
    for (std::size_t at = begin; at < end; at += kChunk) {
      const std::size_t count = std::min(kChunk, end - at);
      unpack_bits(row[kCodes], at * spec_.bits, count, spec_.bits, codes);
      find_values(grid, table, {codes, count}, &out[at]);
    }
  }
}

std::optional<std::string> PlanarFormat::find_defect(const ConstRowPlanes& row, std::uint64_t cols) const {
  const auto span = static_cast<std::uint64_t>(span_columns(static_cast<std::size_t>(cols)));
  float table[16];
  for (std::uint64_t begin = 0, index = 0; begin < cols; begin += span, ++index) {
    const auto where = [&] { return " at column " + std::to_string(begin); };
    // What dq scales are counted in is judged with the tensor.
    const PlanarGrid grid = is_double() ? PlanarGrid{} : read_grid(row, static_cast<std::size_t>(index), 0, table);
    for (std::size_t k = 0; k < num_table_points(); ++k)
      if (!std::isfinite(table[k])) return "a point of the table is not finite" + where();
    if (!std::isfinite(grid.scale)) return "the scale is not finite" + where();
    if (!std::isfinite(grid.bias)) return "the bias is not finite" + where();
    if (spec_.points != PlanarPoints::integer && std::signbit(grid.scale)) return "the scale is negative" + where();
    if (spec_.points != PlanarPoints::ternary && fixed_table_ == nullptr) continue;
    for (std::uint64_t i = begin; i < std::min(cols, begin + span); ++i) {
      std::uint8_t code;
      unpack_bits(row[kCodes], static_cast<std::size_t>(i) * spec_.bits, 1, spec_.bits, &code);
      if (spec_.points == PlanarPoints::ternary ? code > 2 : fixed_table_->is_reserved(code))
        return "the code is reserved at column " + std::to_string(i);
    }
  }
  return std::nullopt;
}

std::optional<std::string> PlanarFormat::find_tensor_defect(const TensorGrid* tensor_grid) const {
  if (!is_double() || tensor_grid == nullptr) return std::nullopt;
  const auto& units = static_cast<const PlanarTensorGrid&>(*tensor_grid);
  if (!std::isfinite(units.offset)) return "the offset of the scales is not finite";
  for (std::size_t i = 0; i < units.nested.size(); ++i)
    if (!std::isfinite(units.nested[i])) return "the scale of scales " + std::to_string(i) + " is not finite";
  return std::nullopt;
}

FormatPtr make_planar_format(std::string_view spelling) {
  const auto spec = parse_planar(spelling);
  return spec ? std::make_shared<PlanarFormat>(*spec) : nullptr;
}

}  // namespace nibble
