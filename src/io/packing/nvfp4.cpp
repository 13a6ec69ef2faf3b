// SPDX-License-Identifier: Apache-2.0
#include "io/packing/nvfp4.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <utility>

#include "format/block/nvfp4.h"
#include "format/planar/planes.h"
#include "format/planar/points.h"
#include "io/packing/planar_words.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::uint64_t kGroup = 16, kGroupBytes = kGroup / 2;
constexpr std::uint64_t kColumns = Nvfp4::kInfo.columns, kGroups = kColumns / kGroup;

struct Bytes {
  std::span<const std::byte> codes, scales;
};

class Nvfp4Rows final : public PackedRows {
 public:
  Nvfp4Rows(std::uint64_t rows, std::uint64_t cols, std::shared_ptr<const TensorParts> parts, Bytes bytes)
      : PackedRows(find_format("nvfp4"), rows, cols, std::move(parts)), bytes_(bytes) {}

  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    auto* to = reinterpret_cast<Nvfp4::Block*>(out.row(at)[0]);
    const std::uint64_t first = begin * cols() / kGroup, count = (end - begin) * cols() / kGroup;
    const auto* codes = reinterpret_cast<const std::uint8_t*>(bytes_.codes.data() + first * kGroupBytes);
    const auto* scales = reinterpret_cast<const std::uint8_t*>(bytes_.scales.data() + first);
    for (std::uint64_t i = 0; i < count; ++i, codes += kGroupBytes) {
      Nvfp4::Block& block = to[i / kGroups];
      block.d[i % kGroups] = scales[i];
      std::uint8_t* const group = block.qs + i % kGroups * kGroupBytes;
      for (std::size_t pair = 0; pair < kGroupBytes / 2; ++pair) {
        const unsigned low = codes[pair], high = codes[pair + kGroupBytes / 2];
        group[2 * pair] = static_cast<std::uint8_t>((low & 15) | (high & 15) << 4);
        group[2 * pair + 1] = static_cast<std::uint8_t>(low >> 4 | (high & 0xf0));
      }
    }
  }

  std::vector<std::span<const std::byte>> stored_bytes() const override { return {bytes_.codes, bytes_.scales}; }

 private:
  Bytes bytes_;
};

// Rows that blocks do not divide.
class ScaledRows final : public PackedRows {
 public:
  ScaledRows(std::uint64_t rows, std::uint64_t cols, float factor, Bytes bytes)
      : PackedRows(find_format("e2m1:g16:f32"), rows, cols, nullptr), factor_(factor), bytes_(bytes) {}

  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    const std::uint64_t groups = cols() / kGroup, count = end - begin;
    std::memcpy(out.planes[kCodes].data() + at * cols() / 2, bytes_.codes.data() + begin * cols() / 2,
                count * cols() / 2);
    const PointTable& floats = *point_table(PlanarPoints::fp8_e4m3);
    for (std::uint64_t i = 0; i < count * groups; ++i)
      write_float(floats.value(std::to_integer<std::uint8_t>(bytes_.scales[begin * groups + i])) * factor_,
                  ScaleType::f32, out.planes[kScales].data() + (at * groups + i) * sizeof(float));
  }

  std::vector<std::span<const std::byte>> stored_bytes() const override { return {bytes_.codes, bytes_.scales}; }

 private:
  float factor_;
  Bytes bytes_;
};

}  // namespace

TensorSource read_nvfp4(const Nvfp4Tensors& tensors, const std::string& where) {
  const Shape& shape = tensors.scales.shape;
  if (shape.size() != 2 || shape[0] == 0 || shape[1] == 0)
    throw Error(ErrorKind::corrupt, fmt::format("{}: scales should be a matrix but are {}", where, shape_text(shape)));
  checked_elements({shape[0], shape[1], kGroup}, where);
  const std::uint64_t rows = shape[0], cols = shape[1] * kGroup;
  const bool is_named = tensors.scales.dtype == DType::f8_e4m3;
  require_tensor(tensors.scales, "scales", is_named ? DType::f8_e4m3 : DType::u8, shape, where);
  require_tensor(tensors.codes, "codes", DType::u8, {rows, cols / 2}, where);
  if (tensors.factor && !(*tensors.factor > 0 && std::isfinite(*tensors.factor)))
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: the scale of the whole tensor is no positive number: {}", where, *tensors.factor));
  const Bytes bytes{tensors.codes.bytes, tensors.scales.bytes};
  if (cols % kColumns != 0)
    return TensorSource(std::make_shared<ScaledRows>(rows, cols, tensors.factor.value_or(1), bytes));
  std::shared_ptr<TensorParts> parts;
  if (tensors.factor) {
    parts = std::make_shared<TensorParts>();
    parts->tensor_scale = tensors.factor;
  }
  return TensorSource(std::make_shared<Nvfp4Rows>(rows, cols, std::move(parts), bytes));
}

}  // namespace nibble
