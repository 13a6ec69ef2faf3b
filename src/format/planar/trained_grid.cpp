// SPDX-License-Identifier: Apache-2.0
//
// The free numbers of planar grids.
#include <algorithm>
#include <cmath>

#include "format/planar/dynamic_map.h"
#include "format/planar/format.h"
#include "format/planar/planes.h"
#include "format/planar/points.h"

namespace nibble {
namespace {

float* table_of(std::byte* grid) { return reinterpret_cast<float*>(grid + sizeof(PlanarGrid)); }
const float* table_of(const std::byte* grid) { return reinterpret_cast<const float*>(grid + sizeof(PlanarGrid)); }

// Integers may be turned over by a scale; of other points no file has a negative one. 0 is a number as any where the
// type has it, and makes zeros of all.
float stored_scale(const PlanarSpec& spec, float scale, ScaleUnit unit) {
  if (spec.scale == ScaleType::dq) return storable_scale(std::max(scale, 0.0f), spec.scale, unit);
  if (spec.points != PlanarPoints::integer || unit.base != 0) scale = std::max(scale, 0.0f);
  if (scale == 0 && spec.scale != ScaleType::e8m0) return 0;
  return storable_scale(scale, spec.scale, unit);
}

}  // namespace

void PlanarFormat::parameters(const std::byte* bytes, float* out) const {
  const auto& grid = *reinterpret_cast<const PlanarGrid*>(bytes);
  if (has_table()) {
    std::copy_n(table_of(bytes), num_table_points(), out);
    return;
  }
  out[0] = grid.scale;
  if (spec_.is_asymmetric) out[1] = static_cast<float>(grid.zero);
  if (spec_.has_bias) out[1] = grid.bias;
}

void PlanarFormat::store(const float* parameters, std::byte* bytes) const {
  auto& grid = *reinterpret_cast<PlanarGrid*>(bytes);
  if (has_table()) {
    std::transform(parameters, parameters + num_table_points(), table_of(bytes),
                   [&](float point) { return storable_bias(point, spec_.scale); });
    return;
  }
  const ScaleUnit unit{grid.base, grid.offset};
  grid.scale = stored_scale(spec_, parameters[0], unit);
  if (is_double()) {
    grid.scale_code = nearest_dynamic((grid.scale - unit.offset) / unit.base);
    grid.scale = dynamic_value(grid.scale_code) * unit.base + unit.offset;
  }
  if (spec_.points == PlanarPoints::ternary) grid.threshold = 0.5f * grid.scale;
  if (spec_.is_asymmetric)
    grid.zero = static_cast<std::int32_t>(
        std::nearbyint(std::clamp(parameters[1], static_cast<float>(range_.lo), static_cast<float>(range_.hi))));
  if (spec_.has_bias) grid.bias = storable_bias(parameters[1], spec_.scale);
}

void PlanarFormat::values(const std::byte* bytes, const float* parameters, const Code* codes, std::size_t columns,
                          float* out) const {
  if (has_table()) {
    for (std::size_t i = 0; i < columns; ++i) out[i] = parameters[codes[i]];
    return;
  }
  points_at_unit_scale(bytes, parameters, codes, columns, out);
  for (std::size_t i = 0; i < columns; ++i) out[i] = parameters[0] * out[i] + (spec_.has_bias ? parameters[1] : 0.0f);
}

void PlanarFormat::slopes(const std::byte* bytes, const float* parameters, const Code* codes, std::size_t columns,
                          float* out) const {
  if (has_table()) {
    std::fill_n(out, num_table_points() * columns, 0.0f);
    for (std::size_t i = 0; i < columns; ++i) out[codes[i] * columns + i] = 1;
    return;
  }
  points_at_unit_scale(bytes, parameters, codes, columns, out);
  if (spec_.is_asymmetric) std::fill_n(out + columns, columns, -parameters[0]);
  if (spec_.has_bias) std::fill_n(out + columns, columns, 1.0f);
}

// From where the bias lies, or the zero point, which need not be whole here.
void PlanarFormat::points_at_unit_scale(const std::byte* bytes, const float* parameters, const Code* codes,
                                        std::size_t columns, float* out) const {
  if (spec_.is_asymmetric) {
    for (std::size_t i = 0; i < columns; ++i) out[i] = static_cast<float>(codes[i]) - parameters[1];
    return;
  }
  PlanarGrid unit = *reinterpret_cast<const PlanarGrid*>(bytes);
  unit.scale = 1;
  unit.bias = 0;
  for (std::size_t i = 0; i < columns; ++i) value(reinterpret_cast<const std::byte*>(&unit), i, codes[i], out + i);
}

}  // namespace nibble
