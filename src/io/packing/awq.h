// SPDX-License-Identifier: Apache-2.0
//
// AWQ's layouts of a Linear, as AutoAWQ made them and transformers and vLLM read the first. 4 bits; with `in` inputs,
// `out` outputs and G = ceil(in / group) groups, version "gemm":
//
//   qweight  I32 [in, out / 8]  codes *along* the outputs: nibble i (bits 4 i .. 4 i + 3) of word w is output
//                               8 w + {0, 2, 4, 6, 1, 3, 5, 7}[i]
//   qzeros   I32 [G, out / 8]   zero points in the same order, as they are
//   scales   F16, BF16 or F32 [G, out], in the order of the outputs
//
// and version "gemv", where rows have room for W words of zero points, 8 W >= G:
//
//   qweight  I32 [out, in / 8]  codes along the inputs, the first lowest
//   qzeros   I32 [out, W]       zero points along the groups, the first lowest
//   scales   F16, BF16 or F32 [out, 8 W]
//
// A weight is scales[g, n] * (code - zero[g, n]). The scales of columns that AWQ finds are in the weights and norms
// already. Where all zero points are 8 the format is symmetric.
//
//   const TensorSource source = read_awq({.group = 128}, {qweight, qzeros, scales}, "layer 'q_proj'");
//   const AwqPacked same = pack_awq(view, "layer 'q_proj'");
#pragma once

#include <cstdint>
#include <string>

#include "format/tensor_source.h"
#include "tensor/tensor.h"

namespace nibble {

enum class AwqVersion : std::uint8_t { gemm, gemv };

struct AwqLayout {
  std::uint32_t group = 128;  // inputs that share a scale; 0: all of them
  AwqVersion version = AwqVersion::gemm;
};

struct AwqTensors {
  TensorView qweight, qzeros, scales;
};

struct AwqPacked {
  Tensor qweight, qzeros, scales;
};

// Borrows the tensors' bytes. Reads all zero points, no codes. where: for messages. Error(corrupt): tensors that do not
// fit each other.
TensorSource read_awq(const AwqLayout& layout, const AwqTensors& tensors, const std::string& where);

// In version "gemm": a tensor in a planar format of 4-bit integers, groups or rows, without parts. Error(unsupported):
// any other, or outputs that are no multiple of 8.
AwqPacked pack_awq(const QuantizedView& view, const std::string& where);

}  // namespace nibble
