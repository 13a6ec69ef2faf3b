// SPDX-License-Identifier: Apache-2.0
#include "format/planar/format.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>

#include "base/half.h"
#include "format/bit_pack.h"
#include "format/clip.h"
#include "format/planar/dynamic_map.h"
#include "format/planar/points.h"
#include "format/planar/tensor_grid.h"
#include "format/scale.h"
#include "nibble/error.h"

namespace nibble {

namespace {

// The order of planes; a format has those it needs, in this order.
constexpr std::size_t kCodes = 0;
constexpr std::size_t kScales = 1;  // or the table
constexpr std::size_t kNested = 2;
constexpr std::size_t kOffset = 3;

DType scale_dtype(ScaleType type) {
  switch (type) {
    case ScaleType::f32:
      return DType::f32;
    case ScaleType::f16:
      return DType::f16;
    case ScaleType::bf16:
      return DType::bf16;
    case ScaleType::e8m0:
      return DType::f8_e8m0;
    case ScaleType::s6:
    case ScaleType::s8:
    case ScaleType::dq:
      return DType::u8;
  }
  return DType::u8;
}

void write_float(float value, ScaleType type, std::byte* at) {
  switch (type) {
    case ScaleType::f32:
      std::memcpy(at, &value, 4);
      return;
    case ScaleType::f16:
    case ScaleType::bf16: {
      const std::uint16_t bits = type == ScaleType::f16 ? f32_to_f16(value) : f32_to_bf16(value);
      std::memcpy(at, &bits, 2);
      return;
    }
    default:
      *at = static_cast<std::byte>(std::ilogb(value) + 127);
      return;
  }
}

float read_float(ScaleType type, const std::byte* at) {
  float value;
  std::uint16_t bits;
  switch (type) {
    case ScaleType::f32:
      std::memcpy(&value, at, 4);
      return value;
    case ScaleType::f16:
      std::memcpy(&bits, at, 2);
      return f16_to_f32(bits);
    case ScaleType::bf16:
      std::memcpy(&bits, at, 2);
      return bf16_to_f32(bits);
    default: {
      const int exponent = std::to_integer<int>(*at);
      return exponent == 255 ? std::numeric_limits<float>::quiet_NaN() : std::ldexp(1.0f, exponent - 127);
    }
  }
}

bool is_plain(FitRule rule) { return rule == FitRule::absmax || rule == FitRule::minmax; }

bool all_zero(std::span<const float> x) {
  return std::all_of(x.begin(), x.end(), [](float value) { return value == 0; });
}

FormatInfo make_info(const PlanarSpec& spec) {
  FormatInfo info;
  info.name = planar_name(spec);
  info.description = planar_description(spec);
  info.kind = FormatKind::planar;
  info.span = spec.grain == PlanarGrain::group ? spec.group : 0;
  info.bits_per_weight = spec.bits;
  const bool is_table = spec.points == PlanarPoints::table;
  if (spec.grain == PlanarGrain::group) {
    const unsigned per_group =
        is_table ? scale_bits(spec.scale) << spec.bits : scale_bits(spec.scale) + (spec.is_asymmetric ? spec.bits : 0);
    info.bits_per_weight += static_cast<double>(per_group) / spec.group;
    if (spec.scale == ScaleType::dq) info.bits_per_weight += 32.0 / static_cast<double>(kNestedGroups * spec.group);
  }
  if (!is_table && (spec.scale == ScaleType::f16)) {
    const CodeRange range = code_range(spec);
    const PointTable* table = point_table(spec.points);
    double largest = spec.points == PlanarPoints::binary ? 1.0 : range.hi - range.middle;
    if (table != nullptr) largest = static_cast<double>(table->max());
    // A zero point moves the range: as much on either side is held whatever it is.
    if (spec.is_asymmetric) largest = (range.hi - range.lo) / 2.0;
    info.max_magnitude = largest * static_cast<double>(kMaxF16);
  }
  return info;
}

}  // namespace

PlanarFormat::PlanarFormat(const PlanarSpec& spec, const SpanLoops& loops)
    : Format(make_info(spec)),
      spec_(spec),
      range_(code_range(spec)),
      fixed_table_(point_table(spec.points)),
      loops_(loops) {
  info_.first_code = first_integer();
}

std::int32_t PlanarFormat::first_integer() const noexcept {
  if (spec_.points == PlanarPoints::ternary) return -1;
  if (spec_.points != PlanarPoints::integer || spec_.is_unsigned) return 0;
  return -range_.middle;
}

std::uint64_t PlanarFormat::groups(std::uint64_t cols) const noexcept {
  return spec_.grain == PlanarGrain::group ? cols / spec_.group + (cols % spec_.group != 0 ? 1 : 0) : 1;
}

std::vector<PlaneSpec> PlanarFormat::planes(std::uint64_t rows, std::uint64_t cols) const {
  checked_elements({rows, cols, 64}, info_.name);  // no size below can overflow after this
  std::vector<PlaneSpec> specs;
  const auto add = [&](const char* suffix, DType dtype, std::vector<std::uint64_t> per_row) {
    PlaneSpec spec{suffix, dtype, {rows}, dtype_size(dtype), 0};
    for (const std::uint64_t extent : per_row) {
      spec.shape.push_back(extent);
      spec.row_bytes *= extent;
    }
    spec.bytes = rows * spec.row_bytes;
    specs.push_back(std::move(spec));
  };
  const auto packed = [](std::uint64_t count, unsigned bits) { return count / 8 * bits + (count % 8 * bits + 7) / 8; };
  add("codes", DType::u8, {packed(cols, spec_.bits)});
  const std::uint64_t num_groups = groups(cols);
  if (has_table()) {
    add("table", scale_dtype(spec_.scale), {num_groups, std::uint64_t{1} << spec_.bits});
  } else if (spec_.grain == PlanarGrain::tensor) {
    const DType dtype = scale_dtype(spec_.scale);
    specs.push_back({"scales", dtype, {1}, 0, dtype_size(dtype)});
    if (spec_.is_asymmetric) specs.push_back({"zeros", DType::u8, {1}, 0, 1});
  } else {
    add("scales", scale_dtype(spec_.scale), {spec_.scale == ScaleType::s6 ? packed(num_groups, 6) : num_groups});
    if (spec_.is_asymmetric) add("zeros", DType::u8, {packed(num_groups, spec_.bits)});
    if (is_two_level()) add("base", DType::f32, {});
    if (is_double()) {
      const std::uint64_t num_nested = (rows * num_groups + kNestedGroups - 1) / kNestedGroups;
      specs.push_back({"nested", DType::f32, {num_nested}, 0, 4 * num_nested});
      specs.push_back({"offset", DType::f32, {1}, 0, 4});
    }
  }
  return specs;
}

// --- grids -----------------------------------------------------------------------------------------------------------

std::unique_ptr<TensorGrid> PlanarFormat::prepare(std::span<const float> weights, std::uint64_t rows,
                                                  std::uint64_t cols, std::span<const float> importance,
                                                  const FitOptions& given) const {
  if (!needs_prepare()) return nullptr;
  auto tensor_grid = std::make_unique<PlanarTensorGrid>();
  if (spec_.grain == PlanarGrain::tensor) {
    std::vector<float> repeated;
    for (std::uint64_t row = 0; row < rows && !importance.empty(); ++row)
      repeated.insert(repeated.end(), importance.begin(), importance.end());
    tensor_grid->grid = fit_planar(spec_, weights, repeated, given, {}, loops_);
    return tensor_grid;
  }
  // The scales that every group would like to have.
  std::vector<float> wanted;
  for (std::uint64_t row = 0; row < rows; ++row) {
    const auto whole_row = weights.subspan(static_cast<std::size_t>(row * cols), static_cast<std::size_t>(cols));
    const FitOptions options = clip_for_row(whole_row, entropy_levels(), given);
    for (std::uint64_t begin = 0; begin < cols; begin += spec_.group) {
      const auto columns = static_cast<std::size_t>(std::min<std::uint64_t>(spec_.group, cols - begin));
      const auto x = whole_row.subspan(static_cast<std::size_t>(begin), columns);
      const auto weight =
          importance.empty() ? importance : importance.subspan(static_cast<std::size_t>(begin), columns);
      wanted.push_back(all_zero(x) ? 0.0f : fit_planar(spec_, x, weight, options, {}, loops_).scale);
    }
  }
  tensor_grid->groups = groups(cols);
  if (is_double()) {
    choose_nested(wanted, *tensor_grid);
    return tensor_grid;
  }
  const float top = spec_.scale == ScaleType::s6 ? 63.0f : 255.0f;
  for (std::uint64_t row = 0; row < rows; ++row) {
    const auto of_row = std::span(wanted).subspan(static_cast<std::size_t>(row * tensor_grid->groups),
                                                  static_cast<std::size_t>(tensor_grid->groups));
    const float largest = *std::max_element(of_row.begin(), of_row.end());
    tensor_grid->bases.push_back(largest > 0 ? std::max(largest / top, kMinNormal) : 1.0f);
  }
  return tensor_grid;
}

void PlanarFormat::pack_tensor(const TensorGrid* tensor_grid, const RowPlanes& planes) const {
  if (is_double()) {
    const auto& units = static_cast<const PlanarTensorGrid&>(*tensor_grid);
    std::memcpy(planes[kNested], units.nested.data(), units.nested.size() * sizeof(float));
    write_float(units.offset, ScaleType::f32, planes[kOffset]);
  }
  if (spec_.grain != PlanarGrain::tensor) return;
  const auto& grid = static_cast<const PlanarTensorGrid&>(*tensor_grid).grid;
  write_float(grid.scale, spec_.scale, planes[kScales]);
  if (spec_.is_asymmetric) *planes[kScales + 1] = static_cast<std::byte>(grid.zero);
}

std::unique_ptr<TensorGrid> PlanarFormat::unpack_tensor(const ConstRowPlanes& planes, std::uint64_t rows,
                                                        std::uint64_t cols) const {
  if (!needs_prepare()) return nullptr;
  auto tensor_grid = std::make_unique<PlanarTensorGrid>();
  tensor_grid->groups = groups(cols);
  if (spec_.grain == PlanarGrain::tensor) {
    tensor_grid->grid = read_grid(planes, 0, 0, nullptr);
  } else if (is_double()) {
    tensor_grid->nested.resize(
        static_cast<std::size_t>((rows * tensor_grid->groups + kNestedGroups - 1) / kNestedGroups));
    std::memcpy(tensor_grid->nested.data(), planes[kNested], tensor_grid->nested.size() * sizeof(float));
    tensor_grid->offset = read_float(ScaleType::f32, planes[kOffset]);
  } else {
    const std::byte* bases = planes[kScales + (spec_.is_asymmetric ? 2 : 1)];
    for (std::uint64_t row = 0; row < rows; ++row)
      tensor_grid->bases.push_back(read_float(ScaleType::f32, bases + 4 * row));
  }
  return tensor_grid;
}

void PlanarFormat::fit(std::span<const float> x, std::span<const float> importance, const TensorGrid* tensor_grid,
                       std::uint64_t row, const FitOptions& options, std::byte* grid, std::size_t span_index) const {
  PlanarGrid fitted;
  if (has_table()) {
    float table[16];
    fit_table(spec_, x, importance, options, {table, num_table_points()});
    std::memcpy(grid + sizeof(PlanarGrid), table, sizeof(float) * num_table_points());
  } else if (needs_prepare() && tensor_grid == nullptr) {
    throw Error(ErrorKind::internal, "a format with a grid for the whole tensor was not prepared: " + info_.name);
  } else if (spec_.grain == PlanarGrain::tensor) {
    fitted = static_cast<const PlanarTensorGrid&>(*tensor_grid).grid;
  } else {
    const ScaleUnit unit =
        needs_prepare() ? static_cast<const PlanarTensorGrid&>(*tensor_grid).unit_of(row, span_index) : ScaleUnit{};
    fitted = fit_planar(spec_, x, importance, options, unit, loops_);
    if (needs_prepare() && all_zero(x)) fitted.scale = storable_scale(is_double() ? 0.0f : 1.0f, spec_.scale, unit);
    if (is_double()) fitted.scale_code = nearest_dynamic((fitted.scale - unit.offset) / unit.base);
    if (is_double()) fitted.scale = dynamic_value(fitted.scale_code) * unit.base + unit.offset;
  }
  std::memcpy(grid, &fitted, sizeof(fitted));
}

void PlanarFormat::write_grid(const PlanarGrid& grid, const float* table, std::size_t span_index,
                              const RowPlanes& row) const {
  if (spec_.grain == PlanarGrain::tensor) return;  // pack_tensor did
  if (has_table()) {
    const std::size_t size = scale_bits(spec_.scale) / 8;
    for (std::size_t k = 0; k < num_table_points(); ++k)
      write_float(table[k], spec_.scale, row[kScales] + (span_index * num_table_points() + k) * size);
    return;
  }
  if (is_two_level()) {
    const auto code = static_cast<std::uint32_t>(std::nearbyint(grid.scale / grid.base));
    const unsigned bits = scale_bits(spec_.scale);
    pack_bits(&code, 1, bits, span_index * bits, row[kScales]);
    write_float(grid.base, ScaleType::f32, row[kScales + (spec_.is_asymmetric ? 2 : 1)]);
  } else if (is_double()) {
    row[kScales][span_index] = static_cast<std::byte>(grid.scale_code);
  } else {
    write_float(grid.scale, spec_.scale, row[kScales] + span_index * scale_bits(spec_.scale) / 8);
  }
  const auto zero = static_cast<std::uint32_t>(grid.zero);
  if (spec_.is_asymmetric) pack_bits(&zero, 1, spec_.bits, span_index * spec_.bits, row[kScales + 1]);
}

PlanarGrid PlanarFormat::read_grid(const ConstRowPlanes& row, std::size_t span_index, std::uint64_t first_group,
                                   float* table) const {
  PlanarGrid grid;
  if (has_table()) {
    const std::size_t size = scale_bits(spec_.scale) / 8;
    for (std::size_t k = 0; k < num_table_points(); ++k)
      table[k] = read_float(spec_.scale, row[kScales] + (span_index * num_table_points() + k) * size);
    return grid;
  }
  if (is_two_level()) {
    std::uint32_t code;
    const unsigned bits = scale_bits(spec_.scale);
    unpack_bits(row[kScales], span_index * bits, 1, bits, &code);
    grid.base = read_float(ScaleType::f32, row[kScales + (spec_.is_asymmetric ? 2 : 1)]);
    grid.scale = grid.base * static_cast<float>(code);
  } else if (is_double()) {
    grid.base = read_float(ScaleType::f32, row[kNested] + (first_group + span_index) / kNestedGroups * sizeof(float));
    grid.offset = read_float(ScaleType::f32, row[kOffset]);
    grid.scale_code = std::to_integer<std::uint8_t>(row[kScales][span_index]);
    grid.scale = dynamic_value(grid.scale_code) * grid.base + grid.offset;
  } else {
    grid.scale = read_float(spec_.scale, row[kScales] + span_index * scale_bits(spec_.scale) / 8);
  }
  if (spec_.is_asymmetric) {
    unpack_bits(row[kScales + 1], span_index * spec_.bits, 1, spec_.bits, &grid.zero);
  } else if (spec_.points == PlanarPoints::integer || spec_.points == PlanarPoints::ternary) {
    grid.zero = range_.middle;
  }
  if (spec_.points == PlanarPoints::ternary) grid.threshold = 0.5f * grid.scale;
  return grid;
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
      loops_.codes(x.data(), x.size(), unit_points(spec_, grid.zero), grid.scale, codes);
  }
}

void PlanarFormat::find_values(const PlanarGrid& grid, const float* table, std::span<const std::uint8_t> codes,
                               float* out) const {
  switch (spec_.points) {
    case PlanarPoints::integer:
    case PlanarPoints::ternary:
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
  return parts;
}

// --- bytes -----------------------------------------------------------------------------------------------------------

void PlanarFormat::pack(const std::byte* grid, const Code* codes, std::size_t span_index, std::size_t columns,
                        const RowPlanes& row) const {
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
  const FitOptions options = spec_.grain == PlanarGrain::tensor ? given : clip_for_row(x, entropy_levels(), given);
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
    write_grid(fitted.grid, fitted.table, index, row);
    pack_bits(codes.data(), piece.size(), spec_.bits, begin * spec_.bits, row[kCodes]);
  }
}

void PlanarFormat::decode_row(const ConstRowPlanes& row, const TensorGrid*, std::uint64_t row_index,
                              std::span<float> out) const {
  constexpr std::size_t kChunk = 256;  // columns unpacked at a time
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
    if (!spec_.is_high && std::signbit(grid.scale)) return "the scale is negative" + where();
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
