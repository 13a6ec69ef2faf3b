// SPDX-License-Identifier: Apache-2.0
//
// The grids of planar formats: chosen for a tensor and for a span, written to planes and read back.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "format/bit_pack.h"
#include "format/clip.h"
#include "format/planar/dynamic_map.h"
#include "format/planar/format.h"
#include "format/planar/planes.h"
#include "format/planar/tensor_grid.h"
#include "format/scale.h"
#include "nibble/error.h"

namespace nibble {

namespace {

bool all_zero(std::span<const float> x) {
  return std::all_of(x.begin(), x.end(), [](float value) { return value == 0; });
}

}  // namespace

template <class Planes>
Planes PlanarFormat::block_row(const Planes& planes, std::uint64_t index, std::uint64_t num_groups) const {
  const std::size_t scales = static_cast<std::size_t>(num_groups) * scale_bits(spec_.scale) / 8;
  const std::size_t zeros = (static_cast<std::size_t>(num_groups) * spec_.bits + 7) / 8;
  Planes row = planes;
  row[kScales] += static_cast<std::size_t>(index) * scales;
  if (spec_.is_asymmetric) row[kScales + 1] += static_cast<std::size_t>(index) * zeros;
  if (spec_.has_bias) row[kBiases] += static_cast<std::size_t>(index) * scales;
  return row;
}

std::unique_ptr<TensorGrid> PlanarFormat::prepare_blocks(std::span<const float> weights, std::uint64_t rows,
                                                         std::uint64_t cols, std::span<const float> importance,
                                                         const FitOptions& options) const {
  auto tensor_grid = std::make_unique<PlanarTensorGrid>();
  tensor_grid->groups = groups(cols);
  tensor_grid->block_rows = spec_.block_rows;
  std::vector<float> x, weight;
  for (std::uint64_t row = 0; row < rows; row += spec_.block_rows)
    for (std::uint64_t begin = 0; begin < cols; begin += spec_.group) {
      const auto columns = static_cast<std::size_t>(std::min<std::uint64_t>(spec_.group, cols - begin));
      x.clear();
      weight.clear();
      for (std::uint64_t r = row; r < std::min(rows, row + spec_.block_rows); ++r) {
        const auto of_row = weights.subspan(static_cast<std::size_t>(r * cols + begin), columns);
        x.insert(x.end(), of_row.begin(), of_row.end());
        if (importance.empty()) continue;
        const auto of_columns = importance.subspan(static_cast<std::size_t>(begin), columns);
        weight.insert(weight.end(), of_columns.begin(), of_columns.end());
      }
      tensor_grid->blocks.push_back(fit_planar(spec_, x, weight, options, {}, loops_));
    }
  return tensor_grid;
}

std::unique_ptr<TensorGrid> PlanarFormat::prepare(std::span<const float> weights, std::uint64_t rows,
                                                  std::uint64_t cols, std::span<const float> importance,
                                                  const FitOptions& given) const {
  if (!needs_prepare()) return nullptr;
  if (has_blocks()) return prepare_blocks(weights, rows, cols, importance, given);
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
  if (has_blocks()) {
    const auto& grids = static_cast<const PlanarTensorGrid&>(*tensor_grid);
    for (std::size_t i = 0; i < grids.blocks.size(); ++i)
      write_grid(grids.blocks[i], nullptr, i % grids.groups, block_row(planes, i / grids.groups, grids.groups));
  }
  if (spec_.grain != PlanarGrain::tensor) return;
  const auto& grid = static_cast<const PlanarTensorGrid&>(*tensor_grid).grid;
  write_float(grid.scale, spec_.scale, planes[kScales]);
  if (spec_.is_asymmetric) *planes[kScales + 1] = static_cast<std::byte>(grid.zero);
  if (spec_.has_bias) write_float(grid.bias, spec_.scale, planes[kBiases]);
}

std::unique_ptr<TensorGrid> PlanarFormat::unpack_tensor(const ConstRowPlanes& planes, std::uint64_t rows,
                                                        std::uint64_t cols) const {
  if (!needs_prepare()) return nullptr;
  auto tensor_grid = std::make_unique<PlanarTensorGrid>();
  tensor_grid->groups = groups(cols);
  if (has_blocks()) {
    tensor_grid->block_rows = spec_.block_rows;
    for (std::uint64_t row = 0; row * spec_.block_rows < rows; ++row)
      for (std::size_t g = 0; g < tensor_grid->groups; ++g)
        tensor_grid->blocks.push_back(read_grid(block_row(planes, row, tensor_grid->groups), g, 0, nullptr));
  } else if (spec_.grain == PlanarGrain::tensor) {
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
  } else if (has_blocks()) {
    fitted = static_cast<const PlanarTensorGrid&>(*tensor_grid).block_of(row, span_index);
  } else {
    const ScaleUnit unit =
        needs_prepare() ? static_cast<const PlanarTensorGrid&>(*tensor_grid).unit_of(row, span_index) : ScaleUnit{};
    fitted = fit_planar(spec_, x, importance, options, unit, loops_);
    if (needs_prepare() && all_zero(x) && has_point_at_zero(spec_))
      fitted.scale = storable_scale(is_double() ? 0.0f : 1.0f, spec_.scale, unit);
    if (is_double()) fitted.scale_code = nearest_dynamic((fitted.scale - unit.offset) / unit.base);
    if (is_double()) fitted.scale = dynamic_value(fitted.scale_code) * unit.base + unit.offset;
  }
  std::memcpy(grid, &fitted, sizeof(fitted));
}

void PlanarFormat::write_grid(const PlanarGrid& grid, const float* table, std::size_t span_index,
                              const RowPlanes& row) const {
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
  if (spec_.has_bias) write_float(grid.bias, spec_.scale, row[kBiases] + span_index * scale_bits(spec_.scale) / 8);
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
  if (spec_.has_bias) {
    grid.bias = read_float(spec_.scale, row[kBiases] + span_index * scale_bits(spec_.scale) / 8);
  } else if (spec_.is_asymmetric) {
    unpack_bits(row[kScales + 1], span_index * spec_.bits, 1, spec_.bits, &grid.zero);
  } else if (spec_.points == PlanarPoints::integer || spec_.points == PlanarPoints::ternary) {
    grid.zero = range_.middle;
  }
  if (spec_.points == PlanarPoints::ternary) grid.threshold = 0.5f * grid.scale;
  return grid;
}

}  // namespace nibble
