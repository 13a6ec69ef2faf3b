// SPDX-License-Identifier: Apache-2.0
//
// NVFP4 as compressed-tensors ("nvfp4-pack-quantized") and MLX (mode "nvfp4") leave it. With `in` inputs:
//
//   codes   U8 [out, in / 2]   E2M1 floats along the inputs, the even one in the low half of its byte
//   scales  F8_E4M3 or U8 [out, in / 16]
//
// and perhaps a factor of the whole tensor. A weight is its point times its scale times the factor: ggml's nvfp4, whose
// blocks of 64 hold code j of 16 beside code j + 8, with a tensor scale beside it. Rows that blocks do not divide are
// read as e2m1:g16:f32, with scale and factor multiplied out.
//
//   const TensorSource source = read_nvfp4({codes, scales, 1 / global_scale}, "layer 'q_proj'");
//   const Nvfp4Packed same = pack_nvfp4(view, "layer 'q_proj'");
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "format/tensor_source.h"
#include "tensor/tensor.h"

namespace nibble {

struct Nvfp4Tensors {
  TensorView codes, scales;
  std::optional<float> factor{};
  std::string_view codes_name = "weight_packed", scales_name = "weight_scale";  // what messages call them
};

// Borrows the tensors' bytes. where: for messages. Error(corrupt): tensors that do not fit each other, a factor that is
// no positive number; while rows are read also a scale that is negative or NaN, of which the tensor's first is named.
TensorSource read_nvfp4(const Nvfp4Tensors& tensors, const std::string& where);

// The number that compressed-tensors stores for a factor, which is its inverse; nothing where there is none. factor:
// positive and finite.
std::optional<float> nvfp4_divisor(float factor);

struct Nvfp4Packed {
  Tensor codes, scales;  // U8 and F8_E4M3; the factor is the tensor's part
};

// A tensor in the format nvfp4, perhaps with a tensor scale. Error(unsupported): any other.
Nvfp4Packed pack_nvfp4(const QuantizedView& view, const std::string& where);

}  // namespace nibble
