// SPDX-License-Identifier: Apache-2.0
//
// OpenAI's layout of MXFP4 (gpt-oss), which transformers and vLLM read (quant_method "mxfp4"). With `in` inputs:
//
//   X_blocks   U8 [..., out, in / 32, 16]   codes along the inputs, the even one in the low half of its byte
//   X_scales   U8 [..., out, in / 32]       E8M0: 2^(s - 127)
//
// A weight is its E2M1 point times its scale: ggml's mxfp4, whose blocks hold code j beside code j + 16. Rows of all
// experts lie one below the other.
//
//   const TensorSource source = read_mxfp4({blocks, scales}, "layer 'gate_up_proj'");
//   const Mxfp4Packed same = pack_mxfp4(view, "layer 'gate_up_proj'");
#pragma once

#include <string>

#include "format/tensor_source.h"
#include "tensor/tensor.h"

namespace nibble {

struct Mxfp4Tensors {
  TensorView blocks, scales;
};

// Borrows the tensors' bytes. where: for messages. Error(corrupt): tensors that do not fit each other.
TensorSource read_mxfp4(const Mxfp4Tensors& tensors, const std::string& where);

struct Mxfp4Packed {
  Tensor blocks, scales;  // U8 [out, in / 2], as compressed-tensors and MLX name what lies here as [out, in / 32, 16]
};

// A tensor in the format mxfp4, without parts. Error(unsupported): any other.
Mxfp4Packed pack_mxfp4(const QuantizedView& view, const std::string& where);

}  // namespace nibble
