// SPDX-License-Identifier: Apache-2.0
#include "io/packing/awq.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "format/bit_pack.h"
#include "format/planar/planes.h"
#include "io/packing/planar_words.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::size_t kZeros = 2;  // the plane behind the scales
constexpr unsigned kBits = 4;
constexpr std::uint64_t kPerWord = 8;
constexpr std::array<unsigned, kPerWord> kNibbleOf = {0, 4, 1, 5, 2, 6, 3, 7};  // by the output's place in its word
constexpr std::uint8_t kMiddle = 8;

// Four bits of an [any, outputs / 8] matrix of words.
std::uint8_t nibble_at(std::span<const std::byte> words, std::uint64_t outputs, std::uint64_t line,
                       std::uint64_t output) {
  const unsigned nibble = kNibbleOf[output % kPerWord];
  const std::uint64_t at = (line * (outputs / kPerWord) + output / kPerWord) * 4 + nibble / 2;
  return static_cast<std::uint8_t>(std::to_integer<unsigned>(words[at]) >> (nibble % 2 * 4) & 15u);
}

void put_nibble(std::span<std::byte> words, std::uint64_t outputs, std::uint64_t line, std::uint64_t output,
                std::uint8_t value) {
  const unsigned nibble = kNibbleOf[output % kPerWord];
  const std::uint64_t at = (line * (outputs / kPerWord) + output / kPerWord) * 4 + nibble / 2;
  words[at] |= static_cast<std::byte>(value << (nibble % 2 * 4));
}

std::vector<std::span<const std::byte>> bytes_of(const AwqTensors& tensors) {
  return {tensors.qweight.bytes, tensors.qzeros.bytes, tensors.scales.bytes};
}

class GemmRows final : public PackedRows {
 public:
  GemmRows(FormatPtr format, std::uint64_t rows, std::uint64_t cols, std::uint32_t group, AwqTensors tensors)
      : PackedRows(std::move(format), rows, cols, nullptr), group_(group), tensors_(std::move(tensors)) {}

  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    // Input by input, as the words lie; two inputs make a byte of each output's codes.
    const std::size_t row_bytes = static_cast<std::size_t>(out.specs[kCodes].row_bytes);
    std::byte* const codes = out.planes[kCodes].data() + at * row_bytes;
    for (std::uint64_t input = 0; input < cols(); ++input)
      for (std::uint64_t row = begin; row < end; ++row) {
        const auto code = static_cast<std::byte>(nibble_at(tensors_.qweight.bytes, rows(), input, row));
        std::byte& byte = codes[(row - begin) * row_bytes + input / 2];
        byte = input % 2 == 0 ? code : byte | code << 4;
      }
    const std::size_t size = dtype_size(tensors_.scales.dtype);
    const std::uint64_t groups = num_groups(cols(), group_);
    for (std::uint64_t group = 0; group < groups; ++group)
      for (std::uint64_t row = begin; row < end; ++row) {
        const std::uint64_t to = at + row - begin;
        std::memcpy(out.planes[kScales].data() + (to * groups + group) * size,
                    tensors_.scales.bytes.data() + (group * rows() + row) * size, size);
        if (out.planes.size() <= kZeros) continue;
        const std::uint8_t zero = nibble_at(tensors_.qzeros.bytes, rows(), group, row);
        pack_bits(&zero, 1, kBits, static_cast<std::size_t>(group) * kBits,
                  out.planes[kZeros].data() + to * out.specs[kZeros].row_bytes);
      }
  }

  std::vector<std::span<const std::byte>> stored_bytes() const override { return bytes_of(tensors_); }

 private:
  std::uint32_t group_;
  AwqTensors tensors_;
};

// Rows as planes have them, but for room behind the last group.
class GemvRows final : public PackedRows {
 public:
  GemvRows(FormatPtr format, std::uint64_t rows, std::uint64_t cols, std::uint64_t words, AwqTensors tensors)
      : PackedRows(std::move(format), rows, cols, nullptr), words_(words), tensors_(std::move(tensors)) {}

  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    const auto copy = [&](std::size_t plane, const TensorView& from, std::uint64_t stride) {
      const std::uint64_t size = out.specs[plane].row_bytes;
      for (std::uint64_t row = begin; row < end; ++row)
        std::memcpy(out.planes[plane].data() + (at + row - begin) * size, from.bytes.data() + row * stride, size);
    };
    copy(kCodes, tensors_.qweight, cols() / 2);
    copy(kScales, tensors_.scales, words_ * kPerWord * dtype_size(tensors_.scales.dtype));
    if (out.planes.size() > kZeros) copy(kZeros, tensors_.qzeros, words_ * 4);
  }

  std::vector<std::span<const std::byte>> stored_bytes() const override { return bytes_of(tensors_); }

 private:
  std::uint64_t words_;  // of zero points, in a row
  AwqTensors tensors_;
};

TensorSource read_gemv(const AwqLayout& layout, const AwqTensors& tensors, ScaleType type, const std::string& where) {
  const std::uint64_t rows = tensors.qweight.shape[0], cols = tensors.qweight.shape[1] * kPerWord,
                      groups = num_groups(cols, layout.group);
  const std::uint64_t words = tensors.qzeros.shape.size() == 2 ? tensors.qzeros.shape[1] : 0;
  require_tensor(tensors.qweight, "qweight", DType::i32, {rows, cols / kPerWord}, where);
  if (words < groups / kPerWord + (groups % kPerWord != 0 ? 1 : 0) || words > groups + kPerWord)
    throw MisfitError(fmt::format("{}: qzeros should have room for {} groups but is {}", where, groups,
                                  shape_text(tensors.qzeros.shape)));
  require_tensor(tensors.qzeros, "qzeros", DType::i32, {rows, words}, where);
  require_tensor(tensors.scales, "scales", tensors.scales.dtype, {rows, words * kPerWord}, where);
  bool is_asymmetric = false;
  std::vector<std::uint8_t> zeros(static_cast<std::size_t>(groups));
  for (std::uint64_t row = 0; row < rows && !is_asymmetric; ++row) {
    unpack_bits(tensors.qzeros.bytes.data() + row * words * 4, 0, zeros.size(), kBits, zeros.data());
    is_asymmetric = std::ranges::any_of(zeros, [](std::uint8_t zero) { return zero != kMiddle; });
  }
  return TensorSource(
      std::make_shared<GemvRows>(integer_format(kBits, layout.group, is_asymmetric, type), rows, cols, words, tensors));
}

}  // namespace

TensorSource read_awq(const AwqLayout& layout, const AwqTensors& tensors, const std::string& where) {
  const Shape& codes = tensors.qweight.shape;
  const ScaleType type = scale_type_of(tensors.scales, "scales", where);
  if (codes.size() != 2 || codes[0] == 0 || codes[1] == 0)
    throw Error(ErrorKind::corrupt, fmt::format("{}: qweight should be a matrix but is {}", where, shape_text(codes)));
  checked_elements({codes[0], codes[1], kPerWord}, where);
  if (layout.version == AwqVersion::gemv) return read_gemv(layout, tensors, type, where);
  const std::uint64_t rows = codes[1] * kPerWord, cols = codes[0], groups = num_groups(cols, layout.group);
  require_tensor(tensors.qweight, "qweight", DType::i32, {cols, rows / kPerWord}, where);
  require_tensor(tensors.qzeros, "qzeros", DType::i32, {groups, rows / kPerWord}, where);
  require_tensor(tensors.scales, "scales", tensors.scales.dtype, {groups, rows}, where);
  constexpr auto kMiddles = static_cast<std::byte>(kMiddle << 4 | kMiddle);
  const bool is_asymmetric =
      std::ranges::any_of(tensors.qzeros.bytes, [=](std::byte zeros) { return zeros != kMiddles; });
  return TensorSource(std::make_shared<GemmRows>(integer_format(kBits, layout.group, is_asymmetric, type), rows, cols,
                                                 layout.group, tensors));
}

namespace {

// Word by word: the codes of eight outputs are taken apart first.
void put_codes(const QuantizedView& view, std::span<std::byte> qweight) {
  const auto cols = static_cast<std::size_t>(view.cols);
  std::vector<std::uint8_t> codes(kPerWord * cols);
  for (std::uint64_t word = 0; word < view.rows / kPerWord; ++word) {
    for (std::size_t i = 0; i < kPerWord; ++i)
      unpack_bits(view.row(word * kPerWord + i)[kCodes], 0, cols, kBits, codes.data() + i * cols);
    for (std::size_t input = 0; input < cols; ++input) {
      std::uint32_t value = 0;
      for (std::size_t i = 0; i < kPerWord; ++i)
        value |= static_cast<std::uint32_t>(codes[i * cols + input]) << (kBits * kNibbleOf[i]);
      std::memcpy(qweight.data() + (input * (view.rows / kPerWord) + word) * sizeof value, &value, sizeof value);
    }
  }
}

}  // namespace

AwqPacked pack_awq(const QuantizedView& view, const std::string& where) {
  const PlanarSpec& spec = spec_to_pack(view, "AWQ's layout", PlanarPoints::integer, {}, where);
  const std::uint64_t rows = view.rows, cols = view.cols;
  if (spec.bits != kBits || spec.has_bias || spec.grain == PlanarGrain::tensor || spec.grain == PlanarGrain::block ||
      (spec.scale != ScaleType::f16 && spec.scale != ScaleType::bf16 && spec.scale != ScaleType::f32))
    refuse_packing(where, fmt::format("AWQ's layout cannot hold {}", view.format->name()));
  if (rows == 0 || cols == 0 || rows % kPerWord != 0)
    refuse_packing(where, fmt::format("AWQ's layout has multiples of 8 outputs: {}", rows));
  const std::uint64_t groups = num_groups(cols, spec.grain == PlanarGrain::row ? 0 : spec.group);
  const DType type = scale_dtype(spec.scale);
  const std::size_t size = dtype_size(type);
  AwqPacked packed{blank_tensor(DType::i32, {cols, rows / kPerWord}),
                   blank_tensor(DType::i32, {groups, rows / kPerWord}), blank_tensor(type, {groups, rows})};
  put_codes(view, packed.qweight.bytes);
  for (std::uint64_t row = 0; row < rows; ++row) {
    const ConstRowPlanes planes = view.row(row);
    for (std::uint64_t g = 0; g < groups; ++g) {
      std::memcpy(packed.scales.bytes.data() + (g * rows + row) * size, planes[kScales] + g * size, size);
      std::uint8_t zero = kMiddle;
      if (spec.is_asymmetric) unpack_bits(planes[kZeros], static_cast<std::size_t>(g) * kBits, 1, kBits, &zero);
      put_nibble(packed.qzeros.bytes, rows, g, row, zero);
    }
  }
  return packed;
}

}  // namespace nibble
