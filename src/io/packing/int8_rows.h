// SPDX-License-Identifier: Apache-2.0
//
// Signed bytes and their scales, as compressed-tensors ("int-quantized", "naive-quantized") and bitsandbytes (LLM.int8)
// leave weights. With `in` inputs, `out` outputs and G = ceil(in / group) groups (1 where rows have one scale):
//
//   weight       I8 [out, in]
//   scales       F16, BF16 or F32 [out, G]; [out] for rows; [1] or [] for one that all share. LLM.int8's SCB are F32
//   [out]
//                and 127 times what codes are multiplied by
//   zero_points  I8, shaped as the scales; only of asymmetric layers
//
// A weight is scales[n, g] * (q - z). Planes count codes from 0, so that the first bit of each is turned over; a scale
// that all share is repeated for each row.
//
//   const TensorSource source = read_int8({}, {weight, scales}, "layer 'q_proj'");
//   const Int8Packed same = pack_int8({}, view, "layer 'q_proj'");
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "format/tensor_source.h"
#include "tensor/tensor.h"

namespace nibble {

struct Int8Layout {
  std::uint32_t group = 0;  // inputs that share a scale; 0: all of a row
  bool are_amax = false;    // scales are 127 times what codes are multiplied by (ScaleType::amax)
  std::string_view scales = "weight_scale", zero_points = "weight_zero_point";  // what messages call them
};

struct Int8Tensors {
  TensorView weight, scales;
  std::optional<TensorView> zero_points{};
};

// Borrows the tensors' bytes. where: for messages. Error(corrupt): tensors that do not fit each other.
TensorSource read_int8(const Int8Layout& layout, const Int8Tensors& tensors, const std::string& where);

struct Int8Packed {
  Tensor weight, scales;
  std::optional<Tensor> zero_points{};
};

// A tensor in a planar format of 8-bit integers, groups or rows, without parts; where scales are amax, such rows alone.
// Error(unsupported): any other.
Int8Packed pack_int8(const Int8Layout& layout, const QuantizedView& view, const std::string& where);

}  // namespace nibble
