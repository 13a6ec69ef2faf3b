// SPDX-License-Identifier: Apache-2.0
//
// The layout of com.microsoft.MatMulNBits (ONNX Runtime, ContribOperators.md): integers of 2, 4 or 8 bits in blocks of
// inputs. Of a matrix [rows, cols] with B = ceil(cols / block) blocks a row:
//   values       U8 [rows, B, block * bits / 8]     least significant bit first, the last block filled up
//   scales       F32 or F16 [rows, B]
//   zero_points  U8 [rows, ceil(B * bits / 8)]      packed like values, each row by itself; absent: 2^(bits - 1)
// x = scale * (value - zero_point). A planar format's codes lie in the same order: what has no scale for 16 to 256
// inputs, a power of two, repeats its scales. Pure; safe from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "format/planar/spec.h"
#include "format/quantized_tensor.h"
#include "format/tensor_source.h"

namespace nibble {

struct NBitsLayout {
  std::uint64_t cols = 0;
  unsigned bits = 4;
  std::uint32_t block = 32;
  bool has_zero_points = false;
  ScaleType scale = ScaleType::f32;  // or f16

  bool operator==(const NBitsLayout&) const = default;
  std::uint64_t blocks() const { return cols / block + (cols % block != 0 ? 1 : 0); }
  std::uint64_t value_bytes() const { return blocks() * block * bits / 8; }  // of a row, as the others
  std::uint64_t scale_bytes() const { return blocks() * (scale == ScaleType::f16 ? 2 : 4); }
  std::uint64_t zero_point_bytes() const { return has_zero_points ? (blocks() * bits + 7) / 8 : 0; }
};

inline constexpr std::uint32_t kLeastNBitsBlock = 16, kMostNBitsBlock = 256;

// Why matrices in a format cannot be laid out so, and what can; empty: they can. scale: the type that scales are to
// have there, which must hold the format's exactly.
std::string nbits_refusal(const Format& format, ScaleType scale);
// Of a format that can.
NBitsLayout nbits_layout(const Format& format, std::uint64_t cols, ScaleType scale);

// What is read there again: the same numbers.
FormatPtr nbits_format(const NBitsLayout& layout);

// Rows as they lie there.
struct NBitsRows {
  std::vector<std::byte> values, scales, zero_points;
};
NBitsRows pack_nbits(const QuantizedView& rows, const NBitsLayout& layout);

// What lies there, as a planar format's planes where nothing fills rows up. Error(corrupt): sizes that are not the
// layout's. where: for messages.
TensorSource read_nbits(const NBitsLayout& layout, std::uint64_t rows, std::span<const std::byte> values,
                        std::span<const std::byte> scales, std::span<const std::byte> zero_points,
                        const std::string& where);

// Every `step`-th row from `first` on, `count` in all: matrices whose rows lie in turn. Error(corrupt): there are not
// so many.
struct NBitsTurn {
  std::uint64_t first = 0, step = 1, count = 0;
};
TensorSource read_nbits_in_turn(const NBitsLayout& layout, std::uint64_t rows, const NBitsTurn& turn,
                                std::span<const std::byte> values, std::span<const std::byte> scales,
                                std::span<const std::byte> zero_points, const std::string& where);

}  // namespace nibble
