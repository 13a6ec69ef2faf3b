// SPDX-License-Identifier: Apache-2.0
#include "io/packing/bitnet.h"

#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <utility>

#include "format/bit_pack.h"
#include "format/planar/planes.h"
#include "io/packing/planar_words.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::uint64_t kPerByte = 4;
constexpr unsigned kBits = 2;

class BitnetRows final : public PackedRows {
 public:
  BitnetRows(std::uint64_t rows, std::uint64_t cols, float scale, BitnetTensors tensors)
      : PackedRows(find_format("ternary:row"), rows, cols, nullptr), scale_(scale), tensors_(std::move(tensors)) {}

  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    const std::uint64_t lines = rows() / kPerByte;
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(cols()));
    for (std::uint64_t row = begin; row < end; ++row) {
      const std::byte* const line = tensors_.weight.bytes.data() + row % lines * cols();
      const auto shift = static_cast<unsigned>(row / lines) * kBits;
      for (std::size_t i = 0; i < codes.size(); ++i)
        codes[i] = static_cast<std::uint8_t>(std::to_integer<unsigned>(line[i]) >> shift & 3u);
      const std::uint64_t to = at + row - begin;
      pack_bits(codes.data(), codes.size(), kBits, 0,
                out.planes[kCodes].data() + to * static_cast<std::size_t>(out.specs[kCodes].row_bytes));
      write_float(scale_, ScaleType::f32, out.planes[kScales].data() + to * sizeof(float));
    }
  }

  std::vector<std::span<const std::byte>> stored_bytes() const override {
    return {tensors_.weight.bytes, tensors_.weight_scale.bytes};
  }

 private:
  float scale_;
  BitnetTensors tensors_;
};

}  // namespace

TensorSource read_bitnet(const BitnetLayout& layout, const BitnetTensors& tensors, const std::string& where) {
  const Shape& shape = tensors.weight.shape;
  if (shape.size() != 2 || shape[0] == 0 || shape[1] == 0)
    throw Error(ErrorKind::corrupt, fmt::format("{}: weight should be a matrix but is {}", where, shape_text(shape)));
  checked_elements({shape[0], shape[1], kPerByte}, where);
  require_tensor(tensors.weight, "weight", DType::u8, shape, where);
  const ScaleType type = scale_type_of(tensors.weight_scale, "weight_scale", where);
  require_tensor(tensors.weight_scale, "weight_scale", tensors.weight_scale.dtype, {1}, where);
  const float stored = read_float(type, tensors.weight_scale.bytes.data());
  const float scale = layout.divides ? 1 / stored : stored;
  if (!(scale > 0 && std::isfinite(scale)))
    throw Error(ErrorKind::corrupt, fmt::format("{}: weight_scale is no positive number: {}", where, stored));
  return TensorSource(std::make_shared<BitnetRows>(shape[0] * kPerByte, shape[1], scale, tensors));
}

}  // namespace nibble
