// SPDX-License-Identifier: Apache-2.0
//
// bitsandbytes' layout of NF4 and FP4. The matrix [out, in] is cut, row behind row, into blocks of 64 numbers as a
// rule:
//
//   weight             U8 [out * in / 2, 1]      codes, the even number in the *high* half of its byte
//   absmax             F32 [blocks]; doubly quantized U8 [blocks]
//   quant_map          F32 [16]                  the points by code: those of nf4 or fp4
//   nested_absmax      F32 [ceil(blocks / 256)]  doubly quantized: scales of 256 blocks' scales
//   nested_quant_map   F32 [256]                 and the points that these are
//   quant_state        U8                        JSON: quant_type, blocksize, shape, and nested_offset
//
// A weight is quant_map[code] * absmax[block]; a scale that is quantized itself is nested_quant_map[absmax[block]] *
// nested_absmax[block / 256] + nested_offset, each operation rounded to F32. Such scales are decoded as they are read:
// the format is nf4:g64:f32 in either case.
//
//   const TensorSource source = read_bitsandbytes(tensors, "layer 'q_proj'");
//   const BitsandbytesPacked same = pack_bitsandbytes(view, "bfloat16", "layer 'q_proj'");
#pragma once

#include <optional>
#include <string>

#include "format/tensor_source.h"
#include "tensor/tensor.h"

namespace nibble {

struct BitsandbytesTensors {
  TensorView weight, absmax, quant_map, quant_state;
  std::optional<TensorView> nested_absmax{}, nested_quant_map{};

  bool is_doubly_quantized() const { return absmax.dtype == DType::u8; }
};

// Borrows the tensors' bytes. where: for messages. Error(corrupt): tensors that do not fit each other;
// Error(unsupported): other points, and blocks that reach from one row into the next.
TensorSource read_bitsandbytes(const BitsandbytesTensors& tensors, const std::string& where);

// Bytes of quant_state as it is written: filled up with blanks, so that its length is known before its numbers.
inline constexpr std::uint64_t kBitsandbytesState = 224;
// Blocks whose scales share one, where these are quantized themselves.
inline constexpr std::uint64_t kBitsandbytesNested = 256;

struct BitsandbytesPacked {
  Tensor weight, absmax, quant_map, quant_state;
  std::optional<Tensor> nested_absmax{}, nested_quant_map{};
};

// A tensor in a planar format of nf4 or fp4 in groups that divide its rows, with scales in F32 or doubly quantized,
// without parts. dtype: torch's name of the type that it is decoded to. Error(unsupported): any other.
BitsandbytesPacked pack_bitsandbytes(const QuantizedView& view, std::string_view dtype, const std::string& where);

}  // namespace nibble
