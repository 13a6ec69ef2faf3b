// SPDX-License-Identifier: Apache-2.0
#include "io/packing/fp8_blocks.h"

#include <fmt/format.h>

#include "format/planar/planes.h"
#include "io/packing/planar_words.h"
#include "nibble/error.h"

namespace nibble {
namespace {

std::uint64_t num_blocks(std::uint64_t extent, std::uint32_t size) { return extent / size + (extent % size != 0); }

// By its spelling, which judges sizes of blocks.
FormatPtr blocks_format(const Fp8BlocksLayout& layout, ScaleType scale, const std::string& where) {
  PlanarSpec spec = *parse_planar("fp8");
  spec.grain = PlanarGrain::block;
  spec.block_rows = layout.rows;
  spec.group = layout.cols;
  spec.scale = scale;
  try {
    return find_format(planar_name(spec));
  } catch (const Error& error) {
    refuse_packing(where, error.what());
  }
}

}  // namespace

TensorSource read_fp8_blocks(const Fp8BlocksLayout& layout, const Fp8BlocksTensors& tensors, const std::string& where) {
  const FormatPtr format =
      blocks_format(layout, scale_type_of(tensors.weight_scale_inv, "weight_scale_inv", where), where);
  const Shape& shape = tensors.weight.shape;
  if (shape.size() != 2 || shape[0] == 0 || shape[1] == 0)
    throw Error(ErrorKind::corrupt, fmt::format("{}: weight should be a matrix but is {}", where, shape_text(shape)));
  require_tensor(tensors.weight, "weight", DType::f8_e4m3, shape, where);
  require_tensor(tensors.weight_scale_inv, "weight_scale_inv", tensors.weight_scale_inv.dtype,
                 {num_blocks(shape[0], layout.rows), num_blocks(shape[1], layout.cols)}, where);
  return make_view(format, shape[0], shape[1], {tensors.weight.bytes, tensors.weight_scale_inv.bytes}, where);
}

Fp8BlocksPacked pack_fp8_blocks(const QuantizedView& view, const std::string& where) {
  const PlanarSpec& spec = spec_to_pack(view, "FP8 in blocks", PlanarPoints::fp8_e4m3, {}, where);
  if (spec.grain != PlanarGrain::block || spec.scale == ScaleType::e8m0)
    refuse_packing(where, fmt::format("FP8 in blocks cannot hold {}", view.format->name()));
  const auto copy = [&](std::size_t plane, DType dtype, Shape shape) {
    return Tensor{dtype, std::move(shape), {view.planes[plane].begin(), view.planes[plane].end()}};
  };
  return {copy(kCodes, DType::f8_e4m3, {view.rows, view.cols}),
          copy(kScales, scale_dtype(spec.scale),
               {num_blocks(view.rows, spec.block_rows), num_blocks(view.cols, spec.group)})};
}

}  // namespace nibble
