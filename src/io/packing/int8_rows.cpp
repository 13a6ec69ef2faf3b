// SPDX-License-Identifier: Apache-2.0
#include "io/packing/int8_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>

#include "format/planar/planes.h"
#include "io/packing/planar_words.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::size_t kZeros = 2;  // the plane behind the scales
constexpr std::byte kSign{0x80};

class Int8Rows final : public PackedRows {
 public:
  Int8Rows(FormatPtr format, std::uint64_t rows, std::uint64_t cols, const Int8Layout& layout, Int8Tensors tensors,
           bool is_shared)
      : PackedRows(std::move(format), rows, cols, nullptr),
        layout_(layout),
        tensors_(std::move(tensors)),
        is_shared_(is_shared) {}

  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    const auto turn = [](std::byte code) { return code ^ kSign; };
    std::transform(tensors_.weight.bytes.data() + begin * cols(), tensors_.weight.bytes.data() + end * cols(),
                   out.planes[kCodes].data() + at * cols(), turn);
    const std::uint64_t groups = num_groups(cols(), layout_.group), size = dtype_size(tensors_.scales.dtype);
    for (std::uint64_t row = begin; row < end; ++row) {
      const std::uint64_t from = is_shared_ ? 0 : row * groups, to = (at + row - begin) * groups;
      const std::byte* const scales = tensors_.scales.bytes.data() + from * size;
      std::memcpy(out.planes[kScales].data() + to * size, scales, groups * size);
      if (!tensors_.zero_points) continue;
      const std::byte* const zeros = tensors_.zero_points->bytes.data() + from;
      std::transform(zeros, zeros + groups, out.planes[kZeros].data() + to, turn);
    }
  }

  std::vector<std::span<const std::byte>> stored_bytes() const override {
    std::vector pieces = {tensors_.weight.bytes, tensors_.scales.bytes};
    if (tensors_.zero_points) pieces.push_back(tensors_.zero_points->bytes);
    return pieces;
  }

 private:
  Int8Layout layout_;
  Int8Tensors tensors_;
  bool is_shared_;  // one scale for all rows
};

}  // namespace

TensorSource read_int8(const Int8Layout& layout, const Int8Tensors& tensors, const std::string& where) {
  const Shape& shape = tensors.weight.shape;
  if (shape.size() != 2 || shape[0] == 0 || shape[1] == 0)
    throw Error(ErrorKind::corrupt, fmt::format("{}: weight should be a matrix but is {}", where, shape_text(shape)));
  const std::uint64_t rows = shape[0], cols = shape[1], groups = num_groups(cols, layout.group);
  require_tensor(tensors.weight, "weight", DType::i8, shape, where);
  ScaleType type = scale_type_of(tensors.scales, layout.scales, where);
  if (layout.are_amax) {
    require_tensor(tensors.scales, layout.scales, DType::f32, {rows}, where);
    type = ScaleType::amax;
  }
  Shape given = tensors.scales.shape;
  std::erase(given, 1u);
  const bool is_shared = given.empty() && layout.group == 0;
  const bool is_flat = is_shared || (layout.group == 0 && given == Shape{rows});
  if (!is_flat) require_tensor(tensors.scales, layout.scales, tensors.scales.dtype, {rows, groups}, where);
  if (tensors.zero_points)
    require_tensor(*tensors.zero_points, layout.zero_points, DType::i8, tensors.scales.shape, where);
  return TensorSource(std::make_shared<Int8Rows>(integer_format(8, layout.group, tensors.zero_points.has_value(), type),
                                                 rows, cols, layout, tensors, is_shared));
}

Int8Packed pack_int8(const Int8Layout& layout, const QuantizedView& view, const std::string& where) {
  const std::string_view who = layout.are_amax ? "LLM.int8" : "int-quantized";
  const PlanarSpec& spec = spec_to_pack(view, who, PlanarPoints::integer, {}, where);
  if (spec.bits != 8 || spec.has_bias || (spec.grain != PlanarGrain::row && spec.grain != PlanarGrain::group) ||
      (spec.scale == ScaleType::amax) != layout.are_amax)
    refuse_packing(where, fmt::format("{} cannot hold {}", who, view.format->name()));
  const auto turned = [&](std::size_t plane, Shape shape) {
    Tensor tensor{DType::i8, std::move(shape), {view.planes[plane].begin(), view.planes[plane].end()}};
    for (std::byte& code : tensor.bytes) code ^= kSign;
    return tensor;
  };
  const Shape scales = {view.rows, num_groups(view.cols, spec.grain == PlanarGrain::row ? 0 : spec.group)};
  Int8Packed packed{turned(kCodes, {view.rows, view.cols}),
                    {scale_dtype(spec.scale), scales, {view.planes[kScales].begin(), view.planes[kScales].end()}}};
  if (spec.is_asymmetric) packed.zero_points = turned(kZeros, scales);
  return packed;
}

}  // namespace nibble
