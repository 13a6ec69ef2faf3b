// SPDX-License-Identifier: Apache-2.0
//
// A matrix [rows, cols] as ONNX's DequantizeLinear reads it in front of a MatMul, which wants it turned:
//   values       INT4, INT8 (symmetric), UINT4 or UINT8 [cols, rows]   4 bits: two a byte across the whole matrix, the
//                                                                      first in the low half
//   scales       FLOAT [ceil(cols / block), rows], axis 0, or [rows], axis 1, where a row has one
//   zero_points  as values and scales; asymmetric alone
// x = scale * (value - zero_point). Opset 21, of 8 bits and whole rows 13. Pure; safe from any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "format/quantized_tensor.h"
#include "format/tensor_source.h"

namespace nibble {

struct DequantizeLayout {
  std::uint64_t rows = 0, cols = 0;
  unsigned bits = 4;
  std::uint32_t block = 32;  // 0: a row has one scale
  bool has_zero_points = false;

  std::uint64_t groups() const { return block == 0 ? 1 : cols / block + (cols % block != 0 ? 1 : 0); }
  std::uint64_t value_bytes() const { return (rows * cols * bits + 7) / 8; }
  std::uint64_t scale_bytes() const { return rows * groups() * sizeof(float); }
  std::uint64_t zero_point_bytes() const { return has_zero_points ? (rows * groups() * bits + 7) / 8 : 0; }
};

// Why matrices in a format cannot be laid out so, and what can; empty: they can.
std::string dequantize_refusal(const Format& format);
// Of a format that can.
DequantizeLayout dequantize_layout(const Format& format, std::uint64_t rows, std::uint64_t cols);

// What is read there again: the same numbers.
FormatPtr dequantize_format(const DequantizeLayout& layout);

struct DequantizeTensor {
  std::vector<std::byte> values, scales, zero_points;
};
DequantizeTensor pack_dequantize(const QuantizedView& matrix, const DequantizeLayout& layout);

// Error(corrupt): sizes that are not the layout's. where: for messages.
TensorSource read_dequantize(const DequantizeLayout& layout, std::span<const std::byte> values,
                             std::span<const std::byte> scales, std::span<const std::byte> zero_points,
                             const std::string& where);

}  // namespace nibble
