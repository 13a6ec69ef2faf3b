// SPDX-License-Identifier: Apache-2.0
#include "io/packing/matmul_nbits.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>

#include "format/planar/format.h"
#include "format/planar/planes.h"
#include "io/packing/planar_words.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::size_t kZeros = 2;  // the plane behind the scales

bool is_integer(const PlanarSpec& spec) {
  const bool has_points = spec.points == PlanarPoints::integer || spec.points == PlanarPoints::ternary;
  return has_points && (spec.bits == 2 || spec.bits == 4 || spec.bits == 8) && !spec.has_bias && !spec.is_high;
}

bool has_plain_scales(const PlanarSpec& spec) {
  return spec.scale == ScaleType::f32 || spec.scale == ScaleType::f16 || spec.scale == ScaleType::bf16;
}

// The code that stands for 0 where no zero points are stored.
std::uint32_t middle_of(const PlanarSpec& spec) {
  return spec.points == PlanarPoints::ternary ? 1u : 1u << (spec.bits - 1);
}

// Inputs that share a scale there: the most that the format's scales, or a row, are made of.
std::uint32_t block_of(const PlanarSpec& spec, std::uint64_t cols) {
  const std::uint64_t length = spec.grain == PlanarGrain::group ? spec.group : cols;
  const std::uint64_t divisor = length & (~length + 1);  // the largest power of two in it
  if (spec.grain != PlanarGrain::group && divisor < kLeastNBitsBlock) return 32;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(divisor, kMostNBitsBlock));
}

class NBitsSource final : public PackedRows {
 public:
  NBitsSource(FormatPtr format, const NBitsLayout& layout, const NBitsTurn& turn, std::span<const std::byte> values,
              std::span<const std::byte> scales, std::span<const std::byte> zero_points)
      : PackedRows(std::move(format), turn.count, layout.cols, nullptr),
        layout_(layout),
        turn_(turn),
        pieces_{values, scales} {
    if (layout.has_zero_points) pieces_.push_back(zero_points);
  }

  void unpack(std::uint64_t begin, std::uint64_t end, std::uint64_t at, QuantizedTensor& out) const override {
    const std::uint64_t strides[] = {layout_.value_bytes(), layout_.scale_bytes(), layout_.zero_point_bytes()};
    for (std::size_t plane = 0; plane < pieces_.size(); ++plane) {
      const std::uint64_t length = out.specs[plane].row_bytes;
      for (std::uint64_t row = begin; row < end; ++row)
        std::memcpy(out.planes[plane].data() + (at + row - begin) * length,
                    pieces_[plane].data() + (turn_.first + row * turn_.step) * strides[plane], length);
    }
  }
  std::vector<std::span<const std::byte>> stored_bytes() const override { return pieces_; }
  std::vector<std::span<const std::byte>> bytes_of_rows(std::uint64_t begin, std::uint64_t end) const override {
    const std::uint64_t stride = layout_.value_bytes(), first = turn_.first + begin * turn_.step;
    return {pieces_[0].subspan(first * stride, ((end - begin - 1) * turn_.step + 1) * stride), pieces_[1]};
  }

 private:
  NBitsLayout layout_;
  NBitsTurn turn_;
  std::vector<std::span<const std::byte>> pieces_;
};

}  // namespace

std::string nbits_refusal(const Format& format, ScaleType scale) {
  const PlanarSpec* const spec = find_planar_spec(format);
  if (spec == nullptr || !is_integer(*spec))
    return fmt::format("MatMulNBits holds integers of 2, 4 and 8 bits on scales of groups of inputs: {} is the nearest",
                       format.info().bits_per_weight > 6 ? "int8:g32" : "int4:g32");
  const bool is_grain = spec->grain == PlanarGrain::row || spec->grain == PlanarGrain::group;
  if (!is_grain || !has_plain_scales(*spec) ||
      (spec->grain == PlanarGrain::group && block_of(*spec, 0) < kLeastNBitsBlock)) {
    PlanarSpec nearest = *spec;
    nearest.grain = PlanarGrain::group;
    nearest.group = 32;
    nearest.scale = ScaleType::f16;
    return fmt::format(
        "MatMulNBits has groups of multiples of {} inputs with scales in floating point: {} is the nearest",
        kLeastNBitsBlock, planar_name(nearest));
  }
  if (scale == ScaleType::f16 && spec->scale != ScaleType::f16) {
    PlanarSpec nearest = *spec;
    nearest.scale = ScaleType::f16;
    return fmt::format("with activations in f16 its scales are f16: {} is the nearest", planar_name(nearest));
  }
  return {};
}

NBitsLayout nbits_layout(const Format& format, std::uint64_t cols, ScaleType scale) {
  const PlanarSpec& spec = *find_planar_spec(format);
  const bool is_middle = middle_of(spec) == 1u << (spec.bits - 1);
  return {cols, spec.bits, block_of(spec, cols), spec.is_asymmetric || !is_middle, scale};
}

FormatPtr nbits_format(const NBitsLayout& layout) {
  return integer_format(layout.bits, layout.block, layout.has_zero_points, layout.scale);
}

NBitsRows pack_nbits(const QuantizedView& view, const NBitsLayout& layout) {
  const PlanarSpec& spec = *find_planar_spec(*view.format);
  const std::uint64_t rows = view.rows, blocks = layout.blocks();
  NBitsRows packed{std::vector<std::byte>(rows * layout.value_bytes()),
                   std::vector<std::byte>(rows * layout.scale_bytes()),
                   std::vector<std::byte>(rows * layout.zero_point_bytes())};
  const std::uint64_t group = spec.grain == PlanarGrain::group ? spec.group : layout.cols;
  const std::uint64_t shared = spec.grain == PlanarGrain::group ? group / layout.block : blocks;  // blocks a scale
  const std::size_t size = layout.scale == ScaleType::f16 ? 2 : 4, from_size = dtype_size(scale_dtype(spec.scale));
  for (std::uint64_t row = 0; row < rows; ++row) {
    const ConstRowPlanes planes = view.row(row);
    std::memcpy(packed.values.data() + row * layout.value_bytes(), planes[kCodes], view.specs[kCodes].row_bytes);
    std::byte* const zeros = packed.zero_points.data() + row * layout.zero_point_bytes();
    for (std::uint64_t b = 0; b < blocks; ++b) {
      const std::uint64_t g = b / shared;
      write_float(read_float(spec.scale, planes[kScales] + g * from_size), layout.scale,
                  packed.scales.data() + row * layout.scale_bytes() + b * size);
      if (!layout.has_zero_points) continue;
      put_code(zeros, layout.bits, b, spec.is_asymmetric ? code_at(planes[kZeros], spec.bits, g) : middle_of(spec));
    }
  }
  return packed;
}

namespace {

void require_sizes(const NBitsLayout& layout, std::uint64_t rows, std::span<const std::byte> values,
                   std::span<const std::byte> scales, std::span<const std::byte> zero_points,
                   const std::string& where) {
  const bool is_block = std::has_single_bit(layout.block) && layout.block >= kLeastNBitsBlock;
  const bool is_bits = layout.bits == 2 || layout.bits == 4 || layout.bits == 8;
  if (!is_block || !is_bits || layout.block > kMostNBitsBlock || layout.cols == 0)
    throw Error(ErrorKind::unsupported,
                fmt::format("{}: blocks of {} inputs in {} bits are not read", where, layout.block, layout.bits));
  const auto require = [&](std::string_view what, std::span<const std::byte> bytes, std::uint64_t row_bytes) {
    if (rows == 0 || bytes.size() % rows != 0 || bytes.size() / rows != row_bytes)
      throw Error(ErrorKind::corrupt, fmt::format("{}: {} should have {} rows of {} bytes but has {} bytes", where,
                                                  what, rows, row_bytes, bytes.size()));
  };
  require("values", values, layout.value_bytes());
  require("scales", scales, layout.scale_bytes());
  if (layout.has_zero_points) require("zero points", zero_points, layout.zero_point_bytes());
}

}  // namespace

TensorSource read_nbits(const NBitsLayout& layout, std::uint64_t rows, std::span<const std::byte> values,
                        std::span<const std::byte> scales, std::span<const std::byte> zero_points,
                        const std::string& where) {
  require_sizes(layout, rows, values, scales, zero_points, where);
  FormatPtr format = nbits_format(layout);
  if (layout.cols % layout.block != 0)
    return TensorSource(
        std::make_shared<NBitsSource>(std::move(format), layout, NBitsTurn{0, 1, rows}, values, scales, zero_points));
  std::vector<std::span<const std::byte>> planes = {values, scales};
  if (layout.has_zero_points) planes.push_back(zero_points);
  return make_view(std::move(format), rows, layout.cols, std::move(planes), where);
}

TensorSource read_nbits_in_turn(const NBitsLayout& layout, std::uint64_t rows, const NBitsTurn& turn,
                                std::span<const std::byte> values, std::span<const std::byte> scales,
                                std::span<const std::byte> zero_points, const std::string& where) {
  require_sizes(layout, rows, values, scales, zero_points, where);
  if (turn.count == 0 || turn.first >= rows || turn.count - 1 > (rows - 1 - turn.first) / turn.step)
    throw Error(ErrorKind::corrupt, fmt::format("{}: rows {}, {} ... are beyond the end of {} rows", where, turn.first,
                                                turn.first + turn.step, rows));
  return TensorSource(std::make_shared<NBitsSource>(nbits_format(layout), layout, turn, values, scales, zero_points));
}

}  // namespace nibble
