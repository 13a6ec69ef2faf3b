// SPDX-License-Identifier: Apache-2.0
//
// MLX's layout of an affine quantized matrix (mode "affine"). With `in` inputs, `out` outputs, b bits a code and
// G = in / group groups:
//
//   weight   U32 [out, in * b / 32]      codes along the inputs, least significant bit first, across words where b does
//                                        not divide 32
//   scales   F16, BF16 or F32 [out, G]   of any sign
//   biases   as the scales
//
// A weight is scales[n, g] * code + biases[n, g]. These are the planes of a format with a bias, byte for byte: nothing
// is unpacked.
//
//   const TensorSource source = read_mlx({.bits = 4, .group = 64}, {weight, scales, biases}, "layer 'q_proj'");
//   const MlxPacked same = pack_mlx(view, "layer 'q_proj'");
#pragma once

#include <cstdint>
#include <string>

#include "format/tensor_source.h"
#include "tensor/tensor.h"

namespace nibble {

struct MlxLayout {
  unsigned bits = 4;         // 2, 3, 4, 5, 6 or 8
  std::uint32_t group = 64;  // divides the inputs
};

struct MlxTensors {
  TensorView weight, scales, biases;
};

struct MlxPacked {
  Tensor weight, scales, biases;
};

// Borrows the tensors' bytes. where: for messages. Error(corrupt): tensors that do not fit each other;
// Error(unsupported): other widths.
TensorSource read_mlx(const MlxLayout& layout, const MlxTensors& tensors, const std::string& where);

// A tensor in a planar format of integers with biases in groups, without parts. Error(unsupported): any other, and
// inputs that do not fill words or groups.
MlxPacked pack_mlx(const QuantizedView& view, const std::string& where);

}  // namespace nibble
