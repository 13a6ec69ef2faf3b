// SPDX-License-Identifier: Apache-2.0
#include "io/packing/gptq.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "format/bit_pack.h"
#include "format/planar/planes.h"
#include "io/packing/planar_words.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::size_t kZeros = 2;  // the plane behind the scales

void require_fit(unsigned bits, std::uint64_t rows, std::uint64_t cols, const std::string& where) {
  if (bits != 2 && bits != 3 && bits != 4 && bits != 8)
    refuse_packing(where, fmt::format("GPTQ's layout has codes of 2, 3, 4 or 8 bits: {}", bits));
  if (rows == 0 || cols == 0 || rows * bits % 32 != 0 || cols * bits % 32 != 0)
    refuse_packing(where, fmt::format("codes of all inputs, and of all outputs, fill whole words in GPTQ's layout; "
                                      "bits, inputs, outputs: {}, {}, {}",
                                      bits, cols, rows));
}

// Zero points 0 .. 2^b - 1 of outputs begin .. begin + zeros.size() - 1 in a group.
class ZeroReader {
 public:
  ZeroReader(const TensorView& qzeros, unsigned bits, std::uint64_t rows, GptqZeros form)
      : bytes_(qzeros.bytes.data()), row_bytes_(rows * bits / 8), bits_(bits), form_(form) {}

  void read(std::uint64_t group, std::uint64_t begin, std::span<std::uint8_t> zeros) const {
    unpack_bits(bytes_ + group * row_bytes_, static_cast<std::size_t>(begin * bits_), zeros.size(), bits_,
                zeros.data());
    if (form_ == GptqZeros::less_one)
      for (std::uint8_t& zero : zeros) zero = static_cast<std::uint8_t>((zero + 1u) & ((1u << bits_) - 1));
  }

 private:
  const std::byte* bytes_;
  std::uint64_t row_bytes_;
  unsigned bits_;
  GptqZeros form_;
};

class GptqRows final : public PackedRows {
 public:
  GptqRows(FormatPtr format, std::uint64_t rows, std::uint64_t cols, std::shared_ptr<const TensorParts> parts,
           const GptqLayout& layout, GptqTensors tensors)
      : PackedRows(std::move(format), rows, cols, std::move(parts)),
        layout_(layout),
        tensors_(std::move(tensors)),
        zeros_(tensors_.qzeros, layout.bits, rows, layout.zeros) {}

  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    unpack_codes(begin, end, at, out);
    unpack_grids(begin, end, at, out);
  }

  std::vector<std::span<const std::byte>> stored_bytes() const override {
    std::vector pieces = {tensors_.qweight.bytes, tensors_.qzeros.bytes, tensors_.scales.bytes};
    if (tensors_.g_idx) pieces.push_back(tensors_.g_idx->bytes);
    return pieces;
  }

 private:
  void unpack_codes(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const {
    const std::size_t row_bytes = static_cast<std::size_t>(out.specs[kCodes].row_bytes);
    std::byte* const codes = out.planes[kCodes].data() + at * row_bytes;
    const std::byte* const words = tensors_.qweight.bytes.data();
    for (std::size_t word = 0; 4 * word < row_bytes; ++word)
      for (std::uint64_t row = begin; row < end; ++row)
        std::memcpy(codes + (row - begin) * row_bytes + 4 * word, words + 4 * (word * rows() + row), 4);
    if (!parts()) return;
    CodeOrder order(parts()->input_order, layout_.bits);
    for (std::uint64_t row = begin; row < end; ++row)
      order.gather(codes + (row - begin) * row_bytes, codes + (row - begin) * row_bytes);
  }

  void unpack_grids(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const {
    const std::size_t size = dtype_size(tensors_.scales.dtype);
    const std::uint64_t groups = num_groups(cols(), layout_.group);
    std::vector<std::uint8_t> zeros(static_cast<std::size_t>(end - begin));
    for (std::uint64_t group = 0; group < groups; ++group) {
      for (std::uint64_t row = begin; row < end; ++row)
        std::memcpy(out.planes[kScales].data() + ((at + row - begin) * groups + group) * size,
                    tensors_.scales.bytes.data() + (group * rows() + row) * size, size);
      if (out.planes.size() <= kZeros) continue;
      zeros_.read(group, begin, zeros);
      for (std::size_t i = 0; i < zeros.size(); ++i)
        pack_bits(&zeros[i], 1, layout_.bits, static_cast<std::size_t>(group) * layout_.bits,
                  out.planes[kZeros].data() + (at + i) * out.specs[kZeros].row_bytes);
    }
  }

  GptqLayout layout_;
  GptqTensors tensors_;
  ZeroReader zeros_;
};

// Whether a zero point differs from the middle.
bool has_zeros(const GptqLayout& layout, const ZeroReader& reader, std::uint64_t rows, std::uint64_t groups,
               const std::string& where) {
  const auto middle = static_cast<std::uint8_t>(1u << (layout.bits - 1));
  std::vector<std::uint8_t> zeros(static_cast<std::size_t>(rows));
  bool any = false;
  for (std::uint64_t group = 0; group < groups; ++group) {
    reader.read(group, 0, zeros);
    any = any || std::ranges::any_of(zeros, [=](std::uint8_t zero) { return zero != middle; });
    if (layout.zeros == GptqZeros::as_they_are) continue;
    if (const auto none = std::ranges::find(zeros, std::uint8_t{0}); none != zeros.end())
      refuse_packing(where, fmt::format("a zero point of 0, stored less 1, is read in different ways by different "
                                        "programs; store the model as gptq_v2: group {}, output {}",
                                        group, none - zeros.begin()));
  }
  return any;
}

}  // namespace

TensorSource read_gptq(const GptqLayout& layout, const GptqTensors& tensors, const std::string& where) {
  const Shape& scales = tensors.scales.shape;
  const Shape& codes = tensors.qweight.shape;
  const ScaleType type = scale_type_of(tensors.scales, "scales", where);
  if (scales.size() != 2 || codes.size() != 2)
    throw Error(ErrorKind::corrupt, fmt::format("{}: qweight and scales should be matrices but are {} and {}", where,
                                                shape_text(codes), shape_text(scales)));
  const unsigned bits = layout.bits;
  checked_elements({codes[0], codes[1], 32}, where);
  const std::uint64_t rows = codes[1], cols = bits == 0 ? 0 : codes[0] * 32 / bits;
  require_fit(bits, rows, cols, where);
  const std::uint64_t groups = num_groups(cols, layout.group);
  require_tensor(tensors.qweight, "qweight", DType::i32, {cols * bits / 32, rows}, where);
  require_tensor(tensors.qzeros, "qzeros", DType::i32, {groups, rows * bits / 32}, where);
  require_tensor(tensors.scales, "scales", tensors.scales.dtype, {groups, rows}, where);
  std::shared_ptr<TensorParts> parts;
  if (tensors.g_idx) {
    require_tensor(*tensors.g_idx, "g_idx", DType::i32, {cols}, where);
    auto order = order_of_groups(*tensors.g_idx, layout.group, cols, where);
    if (!order.empty()) {
      parts = std::make_shared<TensorParts>();
      parts->input_order = std::move(order);
    }
  }
  const bool is_asymmetric =
      has_zeros(layout, ZeroReader(tensors.qzeros, bits, rows, layout.zeros), rows, groups, where);
  return TensorSource(std::make_shared<GptqRows>(integer_format(bits, layout.group, is_asymmetric, type), rows, cols,
                                                 std::move(parts), layout, tensors));
}

GptqPacked pack_gptq(const QuantizedView& view, GptqZeros form, const std::string& where) {
  const PlanarSpec& spec = spec_to_pack(view, "GPTQ's layout", PlanarPoints::integer, {TensorPart::input_order}, where);
  const unsigned bits = spec.bits;
  const std::uint64_t rows = view.rows, cols = view.cols;
  require_fit(bits, rows, cols, where);
  if (spec.has_bias || spec.is_high || spec.grain == PlanarGrain::tensor || spec.grain == PlanarGrain::block ||
      (spec.scale != ScaleType::f16 && spec.scale != ScaleType::bf16 && spec.scale != ScaleType::f32))
    refuse_packing(where, fmt::format("GPTQ's layout cannot hold {}", view.format->name()));
  const std::uint32_t group = spec.grain == PlanarGrain::row ? 0 : spec.group;
  const std::uint64_t groups = num_groups(cols, group);
  const DType type = scale_dtype(spec.scale);
  std::span<const std::uint32_t> order;
  if (view.parts) order = view.parts->input_order;
  GptqPacked packed{blank_tensor(DType::i32, {cols * bits / 32, rows}),
                    blank_tensor(DType::i32, {groups, rows * bits / 32}), blank_tensor(type, {groups, rows}),
                    groups_of_order(order, group, cols)};
  const std::size_t size = dtype_size(type), row_bytes = static_cast<std::size_t>(cols * bits / 8);
  const std::uint32_t mask = (1u << bits) - 1;
  std::vector<std::byte> codes(row_bytes);
  CodeOrder mover(order, bits);
  for (std::uint64_t row = 0; row < rows; ++row) {
    const ConstRowPlanes planes = view.row(row);
    if (order.empty())
      std::memcpy(codes.data(), planes[kCodes], row_bytes);
    else
      mover.scatter(planes[kCodes], codes.data());
    for (std::size_t word = 0; 4 * word < row_bytes; ++word)
      std::memcpy(packed.qweight.bytes.data() + 4 * (word * rows + row), codes.data() + 4 * word, 4);
    for (std::uint64_t g = 0; g < groups; ++g) {
      std::memcpy(packed.scales.bytes.data() + (g * rows + row) * size, planes[kScales] + g * size, size);
      std::uint32_t zero = 1u << (bits - 1);
      if (spec.is_asymmetric) unpack_bits(planes[kZeros], static_cast<std::size_t>(g) * bits, 1, bits, &zero);
      if (form == GptqZeros::less_one && zero == 0)
        refuse_packing(where, fmt::format("GPTQ's layout has no zero point of 0 that all programs read alike: row {}, "
                                          "group {}",
                                          row, g));
      zero = (zero - (form == GptqZeros::less_one ? 1u : 0u)) & mask;
      pack_bits(&zero, 1, bits, static_cast<std::size_t>(row * bits),
                packed.qzeros.bytes.data() + g * (rows * bits / 8));
    }
  }
  return packed;
}

}  // namespace nibble
