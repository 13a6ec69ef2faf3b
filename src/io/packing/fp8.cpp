// SPDX-License-Identifier: Apache-2.0
#include "io/packing/fp8.h"

#include <fmt/format.h>

#include <algorithm>

#include "format/planar/format.h"
#include "format/planar/planes.h"
#include "io/packing/planar_words.h"
#include "nibble/error.h"

namespace nibble {
namespace {

std::uint64_t num_blocks(std::uint64_t extent, std::uint32_t size) { return extent / size + (extent % size != 0); }

// By its spelling, which judges sizes of blocks and groups.
FormatPtr format_of(const PlanarSpec& spec, const std::string& where) {
  try {
    return find_format(planar_name(spec));
  } catch (const Error& error) {
    refuse_packing(where, error.what());
  }
}

// Scales of rows and tensors come with extents of 1 and without.
Shape without_ones(Shape shape) {
  std::erase(shape, 1u);
  return shape;
}

}  // namespace

Shape fp8_scale_shape(const PlanarSpec& spec, std::uint64_t rows, std::uint64_t cols) {
  switch (spec.grain) {
    case PlanarGrain::tensor:
      return {1};
    case PlanarGrain::row:
      return {rows, 1};
    case PlanarGrain::group:
      return {rows, num_blocks(cols, spec.group)};
    case PlanarGrain::block:
      return {num_blocks(rows, spec.block_rows), num_blocks(cols, spec.group)};
  }
  return {};
}

TensorSource read_fp8(const Fp8Layout& layout, const Fp8Tensors& tensors, const std::string& where) {
  const Shape& shape = tensors.weight.shape;
  if (shape.size() != 2 || shape[0] == 0 || shape[1] == 0)
    throw Error(ErrorKind::corrupt, fmt::format("{}: weight should be a matrix but is {}", where, shape_text(shape)));
  const bool is_wide = tensors.weight.dtype == DType::f8_e5m2;
  require_tensor(tensors.weight, "weight", is_wide ? DType::f8_e5m2 : DType::f8_e4m3, shape, where);
  PlanarSpec spec = *parse_planar(is_wide ? "fp8_e5m2" : "fp8");
  spec.grain = layout.grain;
  if (layout.grain == PlanarGrain::block) spec.block_rows = layout.rows;
  spec.group = spec.has_groups() ? layout.cols : 0;
  const bool is_power = tensors.scales.dtype == DType::f8_e8m0 || tensors.scales.dtype == DType::u8;
  spec.scale = is_power ? ScaleType::e8m0 : scale_type_of(tensors.scales, layout.scales, where);
  const FormatPtr format = format_of(spec, where);
  const Shape expected = fp8_scale_shape(spec, shape[0], shape[1]);
  const bool is_flat = !spec.has_groups() && without_ones(tensors.scales.shape) == without_ones(expected);
  if (!is_flat) require_tensor(tensors.scales, layout.scales, tensors.scales.dtype, expected, where);
  return make_view(format, shape[0], shape[1], {tensors.weight.bytes, tensors.scales.bytes}, where);
}

Fp8Packed pack_fp8(const QuantizedView& view, const std::string& where) {
  const PlanarSpec* const given = find_planar_spec(*view.format);
  const bool is_wide = given != nullptr && given->points == PlanarPoints::fp8_e5m2;
  const PlanarSpec& spec =
      spec_to_pack(view, "FP8", is_wide ? PlanarPoints::fp8_e5m2 : PlanarPoints::fp8_e4m3, {}, where);
  if (spec.scale == ScaleType::s6 || spec.scale == ScaleType::s8)
    refuse_packing(where, fmt::format("FP8 cannot hold {}", view.format->name()));
  const auto copy = [&](std::size_t plane, DType dtype, Shape shape) {
    return Tensor{dtype, std::move(shape), {view.planes[plane].begin(), view.planes[plane].end()}};
  };
  return {copy(kCodes, is_wide ? DType::f8_e5m2 : DType::f8_e4m3, {view.rows, view.cols}),
          copy(kScales, scale_dtype(spec.scale), fp8_scale_shape(spec, view.rows, view.cols))};
}

}  // namespace nibble
