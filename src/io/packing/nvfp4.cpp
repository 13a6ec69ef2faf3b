// SPDX-License-Identifier: Apache-2.0
#include "io/packing/nvfp4.h"

#include <fmt/format.h>

#include <algorithm>
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

// Codes of positive scales and 0 are below that of NaN; behind it are the negative ones.
constexpr unsigned kNotANumber = 0x7f;

bool is_refused(std::byte scale) { return std::to_integer<unsigned>(scale) >= kNotANumber; }

// What is read as it goes, since scales of large models take seconds to look through.
class Scales {
 public:
  Scales(std::uint64_t rows, std::span<const std::byte> bytes, std::string_view name, std::string where)
      : row_groups_(bytes.size() / rows), bytes_(bytes), name_(name), where_(std::move(where)) {}

  const std::uint8_t* of_rows(std::uint64_t begin, std::uint64_t end) const {
    const auto some = bytes_.subspan(begin * row_groups_, (end - begin) * row_groups_);
    if (std::ranges::any_of(some, is_refused)) refuse_first();
    return reinterpret_cast<const std::uint8_t*>(some.data());
  }

 private:
  // The tensor's first, whatever rows were asked for.
  [[noreturn]] void refuse_first() const {
    const auto found = std::ranges::find_if(bytes_, is_refused);
    const auto at = static_cast<std::uint64_t>(found - bytes_.begin());
    const unsigned code = std::to_integer<unsigned>(*found);
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: {}: row {}, column {}: a scale is {}: {:#04x}", where_, name_, at / row_groups_,
                            at % row_groups_, (code & kNotANumber) == kNotANumber ? "no number" : "negative", code));
  }

  std::uint64_t row_groups_;
  std::span<const std::byte> bytes_;
  std::string_view name_;
  std::string where_;
};

class Nvfp4Rows final : public PackedRows {
 public:
  Nvfp4Rows(std::uint64_t rows, std::uint64_t cols, std::shared_ptr<const TensorParts> parts, Bytes bytes,
            Scales scales)
      : PackedRows(find_format("nvfp4"), rows, cols, std::move(parts)), bytes_(bytes), scales_(std::move(scales)) {}

  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    auto* to = reinterpret_cast<Nvfp4::Block*>(out.row(at)[0]);
    const std::uint64_t first = begin * cols() / kGroup, count = (end - begin) * cols() / kGroup;
    const auto* codes = reinterpret_cast<const std::uint8_t*>(bytes_.codes.data() + first * kGroupBytes);
    const std::uint8_t* const scales = scales_.of_rows(begin, end);
    for (std::uint64_t i = 0; i < count; ++i, codes += kGroupBytes) {
      Nvfp4::Block& block = to[i / kGroups];
      block.d[i % kGroups] = scales[i];
      read_adjacent(codes, kGroupBytes, block.qs + i % kGroups * kGroupBytes);
    }
  }

  std::vector<std::span<const std::byte>> stored_bytes() const override { return {bytes_.codes, bytes_.scales}; }

 private:
  Bytes bytes_;
  Scales scales_;
};

// Rows that blocks do not divide.
class ScaledRows final : public PackedRows {
 public:
  ScaledRows(std::uint64_t rows, std::uint64_t cols, float factor, Bytes bytes, Scales scales)
      : PackedRows(find_format("e2m1:g16:f32"), rows, cols, nullptr),
        factor_(factor),
        bytes_(bytes),
        scales_(std::move(scales)) {}

  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    const std::uint64_t groups = cols() / kGroup, count = end - begin;
    std::memcpy(out.planes[kCodes].data() + at * cols() / 2, bytes_.codes.data() + begin * cols() / 2,
                count * cols() / 2);
    const std::uint8_t* const scales = scales_.of_rows(begin, end);
    const PointTable& floats = *point_table(PlanarPoints::fp8_e4m3);
    for (std::uint64_t i = 0; i < count * groups; ++i)
      write_float(floats.value(scales[i]) * factor_, ScaleType::f32,
                  out.planes[kScales].data() + (at * groups + i) * sizeof(float));
  }

  std::vector<std::span<const std::byte>> stored_bytes() const override { return {bytes_.codes, bytes_.scales}; }

 private:
  float factor_;
  Bytes bytes_;
  Scales scales_;
};

}  // namespace

TensorSource read_nvfp4(const Nvfp4Tensors& tensors, const std::string& where) {
  const Shape& shape = tensors.scales.shape;
  if (shape.size() != 2 || shape[0] == 0 || shape[1] == 0)
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: {} should be a matrix but is {}", where, tensors.scales_name, shape_text(shape)));
  checked_elements({shape[0], shape[1], kGroup}, where);
  const std::uint64_t rows = shape[0], cols = shape[1] * kGroup;
  const bool is_named = tensors.scales.dtype == DType::f8_e4m3;
  require_tensor(tensors.scales, tensors.scales_name, is_named ? DType::f8_e4m3 : DType::u8, shape, where);
  require_tensor(tensors.codes, tensors.codes_name, DType::u8, {rows, cols / 2}, where);
  if (tensors.factor && !(*tensors.factor > 0 && std::isfinite(*tensors.factor)))
    throw Error(ErrorKind::corrupt,
                fmt::format("{}: the scale of the whole tensor is no positive number: {}", where, *tensors.factor));
  const Bytes bytes{tensors.codes.bytes, tensors.scales.bytes};
  Scales scales(rows, tensors.scales.bytes, tensors.scales_name, where);
  if (cols % kColumns != 0)
    return TensorSource(std::make_shared<ScaledRows>(rows, cols, tensors.factor.value_or(1), bytes, std::move(scales)));
  std::shared_ptr<TensorParts> parts;
  if (tensors.factor && *tensors.factor != 1) {
    parts = std::make_shared<TensorParts>();
    parts->tensor_scale = tensors.factor;
  }
  return TensorSource(std::make_shared<Nvfp4Rows>(rows, cols, std::move(parts), bytes, std::move(scales)));
}

std::optional<float> nvfp4_divisor(float factor) {
  const float near = 1 / factor;
  for (float divisor = std::nextafter(std::nextafter(near, 0.0f), 0.0f); 1 / divisor >= factor;
       divisor = std::nextafter(divisor, 2 * near))
    if (1 / divisor == factor) return divisor;
  return std::nullopt;
}

Nvfp4Packed pack_nvfp4(const QuantizedView& view, const std::string& where) {
  if (view.format->name() != Nvfp4::kInfo.name)
    refuse_packing(where, fmt::format("NVFP4 cannot hold {}", view.format->name()));
  if (view.parts) require_only(parts_of(*view.parts), {TensorPart::tensor_scale}, "NVFP4", where);
  const std::uint64_t count = view.rows * view.cols / kGroup;
  Nvfp4Packed packed{blank_tensor(DType::u8, {view.rows, view.cols / 2}),
                     blank_tensor(DType::f8_e4m3, {view.rows, view.cols / kGroup})};
  const auto* const from = reinterpret_cast<const Nvfp4::Block*>(view.planes[0].data());
  auto* codes = reinterpret_cast<std::uint8_t*>(packed.codes.bytes.data());
  auto* const scales = reinterpret_cast<std::uint8_t*>(packed.scales.bytes.data());
  for (std::uint64_t i = 0; i < count; ++i, codes += kGroupBytes) {
    const Nvfp4::Block& block = from[i / kGroups];
    scales[i] = block.d[i % kGroups];
    write_adjacent(block.qs + i % kGroups * kGroupBytes, kGroupBytes, codes);
  }
  return packed;
}

}  // namespace nibble
