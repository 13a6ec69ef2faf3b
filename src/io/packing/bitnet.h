// SPDX-License-Identifier: Apache-2.0
//
// BitNet's layout of ternary weights, as transformers reads it (quant_method "bitnet"). With `in` inputs and `out`
// outputs, a multiple of 4:
//
//   weight        U8 [out / 4, in]   q + 1 of codes -1, 0, 1: those of output r, r + out / 4, ... in bits 0 .. 1,
//                                    2 .. 3, ... of a byte of row r
//   weight_scale  F16, BF16 or F32 [1]
//
// A weight is q * weight_scale, or q / weight_scale where the layer divides by it (linear_class "bitlinear"). The scale
// is repeated for each row: the format is ternary:row.
//
//   const TensorSource source = read_bitnet({.divides = true}, {weight, scale}, "layer 'q_proj'");
#pragma once

#include <string>

#include "format/tensor_source.h"
#include "tensor/tensor.h"

namespace nibble {

struct BitnetLayout {
  bool divides = true;
};

struct BitnetTensors {
  TensorView weight, weight_scale;
};

// Borrows the tensors' bytes. where: for messages. Error(corrupt): tensors that do not fit each other, a scale that is
// no positive number. Codes of 2, which are none, are found by who looks through rows.
TensorSource read_bitnet(const BitnetLayout& layout, const BitnetTensors& tensors, const std::string& where);

}  // namespace nibble
