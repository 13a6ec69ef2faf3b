// SPDX-License-Identifier: Apache-2.0
#include "io/packing/compressed_tensors.h"

#include <fmt/format.h>

#include <array>
#include <cstring>

#include "format/bit_pack.h"
#include "format/planar/planes.h"
#include "io/packing/planar_words.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::size_t kZeros = 2;  // the plane behind the scales

void require_fit(unsigned bits, std::uint64_t rows, std::uint64_t cols, const std::string& where) {
  if (bits < 2 || bits > 8) refuse_packing(where, fmt::format("pack-quantized has codes of 2 to 8 bits: {}", bits));
  checked_elements({rows, cols, 32}, where);
  if (rows == 0 || cols == 0) throw Error(ErrorKind::corrupt, fmt::format("{}: weight_shape holds a 0", where));
}

class PackQuantizedRows final : public PackedRows {
 public:
  PackQuantizedRows(FormatPtr format, std::uint64_t rows, std::uint64_t cols, std::shared_ptr<const TensorParts> parts,
                    const PackQuantizedLayout& layout, PackQuantizedTensors tensors)
      : PackedRows(std::move(format), rows, cols, std::move(parts)), layout_(layout), tensors_(std::move(tensors)) {}

  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    const std::size_t row_bytes = static_cast<std::size_t>(out.specs[kCodes].row_bytes);
    const std::size_t stored = static_cast<std::size_t>(4 * num_words(cols(), layout_.bits));
    std::span<const std::uint32_t> order;
    if (parts()) order = parts()->input_order;
    CodeOrder mover(order, layout_.bits);
    for (std::uint64_t row = begin; row < end; ++row) {
      const std::byte* const from = tensors_.weight_packed.bytes.data() + row * stored;
      std::byte* const to = out.planes[kCodes].data() + (at + row - begin) * row_bytes;
      if (order.empty())
        std::memcpy(to, from, row_bytes);
      else
        mover.gather(from, to);
    }
    const std::uint64_t scale_bytes = out.specs[kScales].row_bytes;
    std::memcpy(out.planes[kScales].data() + at * scale_bytes, tensors_.weight_scale.bytes.data() + begin * scale_bytes,
                (end - begin) * scale_bytes);
    if (tensors_.weight_zero_point) unpack_zeros(begin, end, at, out);
  }

  std::vector<std::span<const std::byte>> stored_bytes() const override {
    std::vector pieces = {tensors_.weight_packed.bytes, tensors_.weight_scale.bytes, tensors_.weight_shape.bytes};
    for (const auto& tensor : {tensors_.weight_zero_point, tensors_.weight_g_idx})
      if (tensor) pieces.push_back(tensor->bytes);
    return pieces;
  }

 private:
  // Of a group, a column of words with the zero points of all rows one behind the other.
  void unpack_zeros(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const {
    const std::uint64_t groups = num_groups(cols(), layout_.group), words = num_words(rows(), layout_.bits);
    std::vector<std::byte> column(static_cast<std::size_t>(4 * words));
    for (std::uint64_t group = 0; group < groups; ++group) {
      for (std::uint64_t word = 0; word < words; ++word)
        std::memcpy(column.data() + 4 * word, tensors_.weight_zero_point->bytes.data() + 4 * (word * groups + group),
                    4);
      for (std::uint64_t row = begin; row < end; ++row) {
        std::uint8_t zero;
        unpack_bits(column.data(), static_cast<std::size_t>(row * layout_.bits), 1, layout_.bits, &zero);
        pack_bits(&zero, 1, layout_.bits, static_cast<std::size_t>(group * layout_.bits),
                  out.planes[kZeros].data() + (at + row - begin) * out.specs[kZeros].row_bytes);
      }
    }
  }

  PackQuantizedLayout layout_;
  PackQuantizedTensors tensors_;
};

}  // namespace

TensorSource read_pack_quantized(const PackQuantizedLayout& layout, const PackQuantizedTensors& tensors,
                                 const std::string& where) {
  require_tensor(tensors.weight_shape, "weight_shape", DType::i64, {2}, where);
  std::array<std::uint64_t, 2> shape;
  std::memcpy(shape.data(), tensors.weight_shape.bytes.data(), sizeof shape);
  const auto [rows, cols] = shape;
  const unsigned bits = layout.bits;
  require_fit(bits, rows, cols, where);
  const std::uint64_t groups = num_groups(cols, layout.group), per_word = 32 / bits;
  if (32 % bits != 0 && tensors.weight_packed.shape == Shape{rows, (cols + per_word - 1) / per_word} &&
      tensors.weight_packed.shape != Shape{rows, num_words(cols, bits)})
    refuse_packing(where, fmt::format("weight_packed leaves bits of its words empty, as writers before 2026 did with "
                                      "{} bits; write the model again with a newer one",
                                      bits));
  const ScaleType type = scale_type_of(tensors.weight_scale, "weight_scale", where);
  require_tensor(tensors.weight_packed, "weight_packed", DType::i32, {rows, num_words(cols, bits)}, where);
  require_tensor(tensors.weight_scale, "weight_scale", tensors.weight_scale.dtype, {rows, groups}, where);
  std::shared_ptr<TensorParts> parts;
  if (tensors.weight_g_idx) {
    require_tensor(*tensors.weight_g_idx, "weight_g_idx", DType::i32, {cols}, where);
    auto order = order_of_groups(*tensors.weight_g_idx, layout.group, cols, where);
    if (!order.empty()) {
      parts = std::make_shared<TensorParts>();
      parts->input_order = std::move(order);
    }
  }
  const bool is_asymmetric = tensors.weight_zero_point.has_value();
  if (is_asymmetric)
    require_tensor(*tensors.weight_zero_point, "weight_zero_point", DType::i32, {num_words(rows, bits), groups}, where);
  FormatPtr format = integer_format(bits, layout.group, is_asymmetric, type);
  if (!is_asymmetric && !parts && cols * bits % 32 == 0)
    return make_view(std::move(format), rows, cols, {tensors.weight_packed.bytes, tensors.weight_scale.bytes}, where);
  return TensorSource(
      std::make_shared<PackQuantizedRows>(std::move(format), rows, cols, std::move(parts), layout, tensors));
}

PackQuantizedPacked pack_pack_quantized(const QuantizedView& view, const std::string& where) {
  const PlanarSpec& spec =
      spec_to_pack(view, "pack-quantized", PlanarPoints::integer, {TensorPart::input_order}, where);
  const unsigned bits = spec.bits;
  const std::uint64_t rows = view.rows, cols = view.cols;
  require_fit(bits, rows, cols, where);
  if (spec.has_bias || spec.is_high || spec.grain == PlanarGrain::tensor || spec.grain == PlanarGrain::block ||
      (spec.scale != ScaleType::f16 && spec.scale != ScaleType::bf16 && spec.scale != ScaleType::f32))
    refuse_packing(where, fmt::format("pack-quantized cannot hold {}", view.format->name()));
  const std::uint32_t group = spec.grain == PlanarGrain::row ? 0 : spec.group;
  const std::uint64_t groups = num_groups(cols, group), stored = 4 * num_words(cols, bits);
  PackQuantizedPacked packed{blank_tensor(DType::i32, {rows, num_words(cols, bits)}),
                             blank_tensor(scale_dtype(spec.scale), {rows, groups}), blank_tensor(DType::i64, {2})};
  const std::array<std::uint64_t, 2> shape = {rows, cols};
  std::memcpy(packed.weight_shape.bytes.data(), shape.data(), sizeof shape);
  std::memcpy(packed.weight_scale.bytes.data(), view.planes[kScales].data(), view.planes[kScales].size());
  std::span<const std::uint32_t> order;
  if (view.parts) order = view.parts->input_order;
  if (!order.empty()) packed.weight_g_idx = groups_of_order(order, group, cols);
  CodeOrder mover(order, bits);
  std::vector<std::byte> zeros(static_cast<std::size_t>(4 * num_words(rows, bits) * groups));
  for (std::uint64_t row = 0; row < rows; ++row) {
    const ConstRowPlanes planes = view.row(row);
    std::byte* const to = packed.weight_packed.bytes.data() + row * stored;
    if (order.empty())
      std::memcpy(to, planes[kCodes], static_cast<std::size_t>(view.specs[kCodes].row_bytes));
    else
      mover.scatter(planes[kCodes], to);
    for (std::uint64_t g = 0; spec.is_asymmetric && g < groups; ++g) {
      std::uint8_t zero;
      unpack_bits(planes[kZeros], static_cast<std::size_t>(g * bits), 1, bits, &zero);
      pack_bits(&zero, 1, bits, static_cast<std::size_t>((g * 32 * num_words(rows, bits)) + row * bits), zeros.data());
    }
  }
  if (!spec.is_asymmetric) return packed;
  packed.weight_zero_point = blank_tensor(DType::i32, {num_words(rows, bits), groups});
  for (std::uint64_t word = 0; word < num_words(rows, bits); ++word)
    for (std::uint64_t g = 0; g < groups; ++g)
      std::memcpy(packed.weight_zero_point->bytes.data() + 4 * (word * groups + g),
                  zeros.data() + 4 * (g * num_words(rows, bits) + word), 4);
  return packed;
}

}  // namespace nibble
