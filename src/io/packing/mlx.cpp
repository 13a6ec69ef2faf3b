// SPDX-License-Identifier: Apache-2.0
#include "io/packing/mlx.h"

#include <fmt/format.h>

#include "format/planar/planes.h"
#include "io/packing/planar_words.h"
#include "nibble/error.h"

namespace nibble {
namespace {

void require_fit(unsigned bits, std::uint32_t group, std::uint64_t cols, const std::string& where) {
  if (bits < 2 || bits == 7 || bits > 8)
    refuse_packing(where, fmt::format("MLX's layout has codes of 2, 3, 4, 5, 6 or 8 bits: {}", bits));
  if (group == 0 || cols == 0 || cols % group != 0 || cols * bits % 32 != 0)
    refuse_packing(where, fmt::format("inputs fill groups and words in MLX's layout; bits, group, inputs: {}, {}, {}",
                                      bits, group, cols));
}

}  // namespace

TensorSource read_mlx(const MlxLayout& layout, const MlxTensors& tensors, const std::string& where) {
  const Shape& scales = tensors.scales.shape;
  PlanarSpec spec;
  spec.scale = scale_type_of(tensors.scales, "scales", where);
  if (scales.size() != 2)
    throw Error(ErrorKind::corrupt, fmt::format("{}: scales should be a matrix but is {}", where, shape_text(scales)));
  checked_elements({scales[0], scales[1], layout.group, 8}, where);
  const std::uint64_t rows = scales[0], cols = scales[1] * layout.group;
  require_fit(layout.bits, layout.group, cols, where);
  require_tensor(tensors.weight, "weight", DType::u32, {rows, cols * layout.bits / 32}, where);
  require_tensor(tensors.biases, "biases", tensors.scales.dtype, scales, where);
  spec.bits = layout.bits;
  spec.group = layout.group;
  spec.has_bias = true;
  return make_view(find_format(planar_name(spec)), rows, cols,
                   {tensors.weight.bytes, tensors.scales.bytes, tensors.biases.bytes}, where);
}

MlxPacked pack_mlx(const QuantizedView& view, const std::string& where) {
  const PlanarSpec& spec = spec_to_pack(view, "MLX's layout", PlanarPoints::integer, {}, where);
  if (!spec.has_bias || spec.grain != PlanarGrain::group)
    refuse_packing(where, fmt::format("MLX's layout cannot hold {}", view.format->name()));
  require_fit(spec.bits, spec.group, view.cols, where);
  const Shape scales = {view.rows, view.cols / spec.group};
  const auto copy = [&](std::size_t plane, DType dtype, Shape shape) {
    return Tensor{dtype, std::move(shape), {view.planes[plane].begin(), view.planes[plane].end()}};
  };
  return {copy(kCodes, DType::u32, {view.rows, view.cols * spec.bits / 32}),
          copy(kScales, scale_dtype(spec.scale), scales), copy(kBiases, scale_dtype(spec.scale), scales)};
}

}  // namespace nibble
