// SPDX-License-Identifier: Apache-2.0
//
// 8-bit floats with a scale for each block of rows and columns, as DeepSeek V3's checkpoints have them and transformers
// (quant_method "fp8", weight_block_size) and vLLM read them. With blocks of r rows and c columns, 128 x 128 as a rule:
//
//   weight            F8_E4M3 [out, in]
//   weight_scale_inv  F32, F16 or BF16 [ceil(out / r), ceil(in / c)]
//
// A weight is weight[n, k] * weight_scale_inv[n / r, k / c]: what is called an inverse multiplies. These are the planes
// of fp8:block128x128, byte for byte: nothing is unpacked.
//
//   const TensorSource source = read_fp8_blocks({.rows = 128, .cols = 128}, {weight, scales}, "layer 'q_proj'");
//   const Fp8BlocksPacked same = pack_fp8_blocks(view, "layer 'q_proj'");
#pragma once

#include <cstdint>
#include <string>

#include "format/tensor_source.h"
#include "tensor/tensor.h"

namespace nibble {

struct Fp8BlocksLayout {
  std::uint32_t rows = 128, cols = 128;  // of a block
};

struct Fp8BlocksTensors {
  TensorView weight, weight_scale_inv;
};

struct Fp8BlocksPacked {
  Tensor weight, weight_scale_inv;
};

// Borrows the tensors' bytes. where: for messages. Error(corrupt): tensors that do not fit each other;
// Error(unsupported): blocks that no format here has.
TensorSource read_fp8_blocks(const Fp8BlocksLayout& layout, const Fp8BlocksTensors& tensors, const std::string& where);

// A tensor in a planar format of E4M3 floats in blocks, without parts but its row tile. Error(unsupported): any other.
Fp8BlocksPacked pack_fp8_blocks(const QuantizedView& view, const std::string& where);

}  // namespace nibble
