// SPDX-License-Identifier: Apache-2.0
#include "io/packing/dequantize_linear.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "format/planar/format.h"
#include "format/planar/planes.h"
#include "io/packing/planar_words.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::size_t kZeros = 2;  // the plane behind the scales

// Codes are stored unsigned here; symmetric ones are two's complement there.
std::uint32_t sign_of(const DequantizeLayout& layout) { return layout.has_zero_points ? 0 : 1u << (layout.bits - 1); }

class DequantizeSource final : public PackedRows {
 public:
  DequantizeSource(FormatPtr format, const DequantizeLayout& layout, std::span<const std::byte> values,
                   std::span<const std::byte> scales, std::span<const std::byte> zero_points)
      : PackedRows(std::move(format), layout.rows, layout.cols, nullptr),
        layout_(layout),
        values_(values),
        scales_(scales),
        zero_points_(zero_points) {}

  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    const auto& [rows, cols, bits, block, has_zero_points] = layout_;
    const std::uint64_t groups = layout_.groups(), code_bytes = out.specs[kCodes].row_bytes;
    const std::uint32_t sign = sign_of(layout_);
    std::fill_n(out.planes[kCodes].data() + at * code_bytes, (end - begin) * code_bytes, std::byte{0});
    for (std::uint64_t k = 0; k < cols; ++k)
      for (std::uint64_t row = begin; row < end; ++row)
        put_code(out.planes[kCodes].data() + (at + row - begin) * code_bytes, bits, k,
                 code_at(values_.data(), bits, k * rows + row) ^ sign);
    for (std::uint64_t row = begin; row < end; ++row) {
      for (std::uint64_t g = 0; g < groups; ++g)
        std::memcpy(out.planes[kScales].data() + ((at + row - begin) * groups + g) * sizeof(float),
                    scales_.data() + (g * rows + row) * sizeof(float), sizeof(float));
      if (!has_zero_points) continue;
      std::byte* const zeros = out.planes[kZeros].data() + (at + row - begin) * out.specs[kZeros].row_bytes;
      std::fill_n(zeros, out.specs[kZeros].row_bytes, std::byte{0});
      for (std::uint64_t g = 0; g < groups; ++g)
        put_code(zeros, bits, g, code_at(zero_points_.data(), bits, g * rows + row));
    }
  }
  std::vector<std::span<const std::byte>> stored_bytes() const override {
    std::vector pieces = {values_, scales_};
    if (layout_.has_zero_points) pieces.push_back(zero_points_);
    return pieces;
  }

 private:
  DequantizeLayout layout_;
  std::span<const std::byte> values_, scales_, zero_points_;
};

}  // namespace

std::string dequantize_refusal(const Format& format) {
  const PlanarSpec* const spec = find_planar_spec(format);
  const bool is_integer = spec != nullptr && spec->points == PlanarPoints::integer &&
                          (spec->bits == 4 || spec->bits == 8) && !spec->has_bias;
  if (!is_integer)
    return fmt::format(
        "DequantizeLinear holds integers of 4 and 8 bits on scales of groups of inputs, or of rows: {} is the nearest",
        format.info().bits_per_weight > 6 ? "int8:row" : "int4:g32");
  const bool is_grain = spec->grain == PlanarGrain::row || spec->grain == PlanarGrain::group;
  const bool is_plain =
      spec->scale == ScaleType::f32 || spec->scale == ScaleType::f16 || spec->scale == ScaleType::bf16;
  if (is_grain && is_plain) return {};
  PlanarSpec nearest = *spec;
  nearest.scale = ScaleType::f16;
  if (!is_grain) nearest.grain = PlanarGrain::group, nearest.group = 32;
  return fmt::format(
      "scales of DequantizeLinear are of groups of inputs or of rows, in floating point: {} is the nearest",
      planar_name(nearest));
}

DequantizeLayout dequantize_layout(const Format& format, std::uint64_t rows, std::uint64_t cols) {
  const PlanarSpec& spec = *find_planar_spec(format);
  return {rows, cols, spec.bits, spec.grain == PlanarGrain::row ? 0 : spec.group, spec.is_asymmetric};
}

FormatPtr dequantize_format(const DequantizeLayout& layout) {
  return integer_format(layout.bits, layout.block, layout.has_zero_points, ScaleType::f32);
}

DequantizeTensor pack_dequantize(const QuantizedView& view, const DequantizeLayout& layout) {
  DequantizeTensor tensor{std::vector<std::byte>(layout.value_bytes()), std::vector<std::byte>(layout.scale_bytes()),
                          std::vector<std::byte>(layout.zero_point_bytes())};
  const PlanarSpec& spec = *find_planar_spec(*view.format);
  const std::uint64_t groups = layout.groups();
  const std::size_t size = dtype_size(scale_dtype(spec.scale));
  const std::uint32_t sign = sign_of(layout);
  std::vector<ConstRowPlanes> rows;
  for (std::uint64_t row = 0; row < view.rows; ++row) rows.push_back(view.row(row));
  for (std::uint64_t k = 0; k < layout.cols; ++k)
    for (std::uint64_t row = 0; row < view.rows; ++row)
      put_code(tensor.values.data(), layout.bits, k * layout.rows + row,
               code_at(rows[row][kCodes], layout.bits, k) ^ sign);
  for (std::uint64_t g = 0; g < groups; ++g)
    for (std::uint64_t row = 0; row < view.rows; ++row) {
      const std::uint64_t at = g * layout.rows + row;
      write_float(read_float(spec.scale, rows[row][kScales] + g * size), ScaleType::f32,
                  tensor.scales.data() + at * sizeof(float));
      if (layout.has_zero_points)
        put_code(tensor.zero_points.data(), layout.bits, at, code_at(rows[row][kZeros], layout.bits, g));
    }
  return tensor;
}

TensorSource read_dequantize(const DequantizeLayout& layout, std::span<const std::byte> values,
                             std::span<const std::byte> scales, std::span<const std::byte> zero_points,
                             const std::string& where) {
  if ((layout.bits != 4 && layout.bits != 8) || layout.rows == 0 || layout.cols == 0)
    throw Error(ErrorKind::corrupt, fmt::format("{}: no matrix of 4 or 8 bits: {} x {} of {} bits", where, layout.rows,
                                                layout.cols, layout.bits));
  const auto require = [&](std::string_view what, std::uint64_t found, std::uint64_t expected) {
    if (found != expected)
      throw Error(ErrorKind::corrupt,
                  fmt::format("{}: {} should have {} bytes but has {}", where, what, expected, found));
  };
  require("values", values.size(), layout.value_bytes());
  require("scales", scales.size(), layout.scale_bytes());
  require("zero points", zero_points.size(), layout.zero_point_bytes());
  return TensorSource(
      std::make_shared<DequantizeSource>(dequantize_format(layout), layout, values, scales, zero_points));
}

}  // namespace nibble
