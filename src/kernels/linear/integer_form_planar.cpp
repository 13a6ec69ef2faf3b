// SPDX-License-Identifier: Apache-2.0
#include "kernels/linear/integer_form_planar.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/half.h"
#include "format/bit_pack.h"
#include "format/planar/dynamic_map.h"
#include "format/planar/format.h"
#include "format/planar/points.h"

namespace nibble {
namespace {

// A scale as the resident block keeps it.
std::uint32_t scale_bits_of(const PlanarGrid& grid, ScaleKind kind) {
  switch (kind) {
    case ScaleKind::f16:
      return f32_to_f16(grid.scale);
    case ScaleKind::bf16:
      return f32_to_bf16(grid.scale);
    case ScaleKind::f32:
      return std::bit_cast<std::uint32_t>(grid.scale);
    case ScaleKind::e8m0:
      return std::isfinite(grid.scale) ? static_cast<std::uint32_t>(std::ilogb(grid.scale) + 127) : 255u;
    case ScaleKind::nested8:
      return grid.scale_code;
    case ScaleKind::unsigned8_of_row: {
      const float multiple = std::nearbyint(grid.scale / grid.base);
      return multiple >= 0 && multiple <= 255 ? static_cast<std::uint32_t>(multiple)
                                              : 0u;  // a base of zero: every value is zero
    }
    default:
      return 0;
  }
}

// A bias is of its scale's type.
OffsetKind bias_kind(ScaleType type) {
  return type == ScaleType::f16 ? OffsetKind::f16 : type == ScaleType::bf16 ? OffsetKind::bf16 : OffsetKind::f32;
}

std::uint32_t bias_bits_of(float bias, OffsetKind kind) {
  return kind == OffsetKind::f16    ? f32_to_f16(bias)
         : kind == OffsetKind::bf16 ? f32_to_bf16(bias)
                                    : std::bit_cast<std::uint32_t>(bias);
}

void read_planar(const IntegerForm& form, const ConstRowPlanes& row, std::size_t block, std::size_t columns,
                 BlockCodes& out) {
  const auto& format = static_cast<const PlanarFormat&>(*form.format);
  const PlanarSpec& spec = format.spec();
  const std::size_t first = block * kBlockDepth, group = spec.has_groups() ? spec.group : 0;
  unpack_bits(row[0], first * spec.bits, columns, spec.bits, out.codes);
  for (std::size_t g = 0; g * form.shape.group < columns; ++g) {
    PlanarGrid grid;
    const std::size_t span = group == 0 ? 0 : (first + g * form.shape.group) / group;
    format.unpack(row, span, 0, form.tensor_grid, out.row, reinterpret_cast<std::byte*>(&grid), nullptr);
    out.scales[g] = scale_bits_of(grid, form.shape.scale);
    out.offsets[g] = spec.has_bias ? bias_bits_of(grid.bias, form.shape.offset) : static_cast<std::uint32_t>(grid.zero);
    out.row_scale = form.shape.scale == ScaleKind::row ? grid.scale : grid.base;
  }
}

ScaleKind scale_kind(ScaleType type) {
  switch (type) {
    case ScaleType::f32:
      return ScaleKind::f32;
    case ScaleType::f16:
      return ScaleKind::f16;
    case ScaleType::bf16:
      return ScaleKind::bf16;
    case ScaleType::e8m0:
      return ScaleKind::e8m0;
    case ScaleType::s6:
    case ScaleType::s8:
      return ScaleKind::unsigned8_of_row;
    case ScaleType::dq:
    case ScaleType::amax:  // of rows
      break;
  }
  return ScaleKind::f32;
}

// Bits of the planes that hold codes of this many bits.
bool set_planes(IntegerShape& shape, unsigned bits) {
  constexpr std::uint8_t kLow[] = {0, 1, 2, 2, 4, 4, 4, 7, 8}, kHigh[] = {0, 0, 0, 1, 0, 1, 2, 0, 0};
  if (bits == 0 || bits > 8) return false;
  shape.low_bits = kLow[bits];
  shape.high_bits = kHigh[bits];
  return true;
}

// Doubly quantized scales stay codes where what they are counted in changes between blocks only.
void keep_nested(IntegerShape& shape, const PlanarSpec& spec, std::uint64_t cols) {
  if (spec.scale != ScaleType::dq || (cols + shape.group - 1) / shape.group % (kBlockDepth / shape.group) != 0) return;
  shape.scale = ScaleKind::nested8;
  shape.scale_map = kDynamicMap.data();
}

// Whether blocks can hold the groups.
bool set_scales(IntegerShape& shape, const PlanarSpec& spec) {
  shape.scale = scale_kind(spec.scale);
  if (spec.has_groups()) {
    shape.group = spec.group;
    return spec.group >= 16 && kBlockDepth % spec.group == 0;
  }
  if (shape.scale == ScaleKind::unsigned8_of_row) return false;
  shape.group = kBlockDepth;
  shape.scale = ScaleKind::row;
  return true;
}

}  // namespace

void set_points(IntegerForm& form, const std::array<float, 16>& points) {
  IntegerShape& shape = form.shape;
  shape.has_table = true;
  shape.middle = 128;
  form.table = points;
  const bool halves = std::all_of(points.begin(), points.end(),
                                  [](float x) { return 2 * x == std::nearbyint(2 * x) && std::fabs(2 * x) <= 127; });
  const bool whole =
      halves && std::all_of(points.begin(), points.end(), [](float x) { return x == std::nearbyint(x); });
  float largest = 0;
  for (float x : points) largest = std::max(largest, std::fabs(x));
  shape.factor = whole ? 1.0f : halves ? 0.5f : largest / 127.0f;
  for (std::size_t i = 0; i < 16; ++i)
    shape.points[i] = static_cast<std::uint8_t>(
        128 + std::lround(halves ? points[i] / shape.factor : points[i] * (127.0f / largest)));
}

std::optional<IntegerForm> planar_integer_form(const Format& format, std::uint64_t cols) {
  const auto* planar = dynamic_cast<const PlanarFormat*>(&format);
  if (planar == nullptr) return std::nullopt;
  const PlanarSpec& spec = planar->spec();
  IntegerForm form;
  IntegerShape& shape = form.shape;
  form.read = read_planar;
  form.needs_tensor_grid = spec.scale == ScaleType::dq;
  if (!set_planes(shape, spec.bits)) return std::nullopt;
  if (!set_scales(shape, spec)) return std::nullopt;
  switch (spec.points) {
    case PlanarPoints::integer:
      if (spec.has_bias) {
        shape.offset = bias_kind(spec.scale);
      } else if (spec.is_asymmetric)
        shape.offset = spec.bits == 1 || spec.bits == 2 || spec.bits == 4 ? OffsetKind::zero_packed : OffsetKind::zero8;
      else
        shape.middle = spec.bits == 1 ? 2 * code_range(spec).middle : code_range(spec).middle;
      if (spec.bits == 1) shape.factor = 0.5f;
      return form;
    case PlanarPoints::half_integer:
      // Twice the points are odd integers: twice the code less what lies in the middle.
      shape.has_table = true;
      shape.middle = (1 << spec.bits) - 1;
      shape.factor = 0.5f;
      for (unsigned code = 0; code < 1u << spec.bits; ++code) {
        shape.points[code] = static_cast<std::uint8_t>(2 * code);
        form.table[code] = planar->fixed_table()->value(code);
      }
      return form;
    case PlanarPoints::ternary:
      shape.middle = 1;
      return form;
    case PlanarPoints::binary:
      shape.middle = 1;
      return form;
    case PlanarPoints::nf4:
    case PlanarPoints::fp4:
    case PlanarPoints::e2m1: {
      std::array<float, 16> points;
      for (std::size_t i = 0; i < 16; ++i) points[i] = planar->fixed_table()->value(static_cast<Code>(i));
      set_points(form, points);
      keep_nested(shape, spec, cols);
      return form;
    }
    default:
      break;  // 6- and 8-bit floats and learned tables are not integers
  }
  return std::nullopt;
}

NestedScales nested_scales(const TensorGrid& grid) {
  const auto& units = static_cast<const PlanarTensorGrid&>(grid);
  return {units.nested, units.offset, units.groups};
}

std::optional<FloatForm> float_form(const Format& format) {
  const auto* planar = dynamic_cast<const PlanarFormat*>(&format);
  if (planar == nullptr) return std::nullopt;
  const PlanarSpec& spec = planar->spec();
  FloatForm result{};
  switch (spec.points) {
    case PlanarPoints::fp8_e4m3:
      result.codes = FloatCodes::e4m3;
      break;
    case PlanarPoints::fp8_e5m2:
      result.codes = FloatCodes::e5m2;
      break;
    case PlanarPoints::fp6_e3m2:
      result.codes = FloatCodes::e3m2;
      break;
    case PlanarPoints::fp6_e2m3:
      result.codes = FloatCodes::e2m3;
      break;
    default:
      return std::nullopt;
  }
  result.form.format = &format;
  result.form.read = read_planar;
  if (!set_planes(result.form.shape, spec.bits) || !set_scales(result.form.shape, spec)) return std::nullopt;
  for (std::size_t i = 0; i < std::size_t{1} << spec.bits; ++i)
    result.values[i] = planar->fixed_table()->value(static_cast<Code>(i));
  return result;
}

}  // namespace nibble
