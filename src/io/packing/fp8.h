// SPDX-License-Identifier: Apache-2.0
//
// 8-bit floats and their scales side by side, as DeepSeek V3's checkpoints have them and transformers (quant_method
// "fp8"), compressed-tensors ("float-quantized") and vLLM read them:
//
//   weight  F8_E4M3 or F8_E5M2 [out, in]
//   scales  F32, F16, BF16, or powers of two in F8_E8M0 or U8; with blocks of r rows and c columns, 128 x 128 as a
//           rule, [ceil(out / r), ceil(in / c)]; [out, ceil(in / c)] with groups, [out, 1] or [out] with one for each
//           row, [1] or [] with one for all
//
// A weight is weight[n, k] times the scale of its block, group, row or tensor: what is called an inverse
// (weight_scale_inv) multiplies, too. These are the planes of fp8:block128x128 and its relatives, byte for byte:
// nothing is unpacked.
//
//   const TensorSource source = read_fp8({.rows = 128, .cols = 128}, {weight, scales}, "layer 'q_proj'");
//   const Fp8Packed same = pack_fp8(view, "layer 'q_proj'");
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "format/planar/spec.h"
#include "format/tensor_source.h"
#include "tensor/tensor.h"

namespace nibble {

struct Fp8Layout {
  PlanarGrain grain = PlanarGrain::block;
  std::uint32_t rows = 128, cols = 128;          // of a block; columns of a group
  std::string_view scales = "weight_scale_inv";  // what messages call them
};

struct Fp8Tensors {
  TensorView weight, scales;
};

struct Fp8Packed {
  Tensor weight, scales;
};

// Borrows the tensors' bytes. where: for messages. Error(corrupt): tensors that do not fit each other;
// Error(unsupported): blocks and scales that no format here has.
TensorSource read_fp8(const Fp8Layout& layout, const Fp8Tensors& tensors, const std::string& where);

// As scales are written.
Shape fp8_scale_shape(const PlanarSpec& spec, std::uint64_t rows, std::uint64_t cols);

// A tensor in a planar format of 8-bit floats, without parts but a row tile. Error(unsupported): any other.
Fp8Packed pack_fp8(const QuantizedView& view, const std::string& where);

}  // namespace nibble
