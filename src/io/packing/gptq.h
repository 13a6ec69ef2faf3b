// SPDX-License-Identifier: Apache-2.0
//
// GPTQ's layout of a Linear, as AutoGPTQ made it and GPTQModel, transformers and vLLM read it. With `in` inputs, `out`
// outputs, b bits a code and G = ceil(in / group) groups:
//
//   qweight  I32 [in * b / 32, out]  codes, least significant bit first, *down* the inputs: word w of output n holds
//                                    bits 32 w .. 32 w + 31 of that output's codes (3-bit codes lie across words)
//   qzeros   I32 [G, out * b / 32]   zero points along the outputs, each less 1 modulo 2^b in checkpoint_format "gptq",
//                                    as they are in "gptq_v2"
//   scales   F16, BF16 or F32 [G, out]
//   g_idx    I32 [in]                the group of each input; without it, input i is in group i / group
//
// A weight is scales[g, n] * (code - zero[g, n]). Where inputs were quantized in an order of their own (desc_act) g_idx
// is not ascending: the codes lie in the inputs' order all the same, and become codes in the order of their groups with
// an input order beside them. Where all zero points are 2^(b-1) the format is symmetric.
//
//   const TensorSource source = read_gptq({.bits = 4, .group = 128}, tensors, "layer 'q_proj'");
//   const GptqPacked same = pack_gptq(view, GptqZeros::less_one, "layer 'q_proj'");
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "format/tensor_source.h"
#include "tensor/tensor.h"

namespace nibble {

enum class GptqZeros : std::uint8_t { less_one, as_they_are };

struct GptqLayout {
  unsigned bits = 4;          // 2, 3, 4 or 8
  std::uint32_t group = 128;  // inputs that share a scale; 0: all of them
  GptqZeros zeros = GptqZeros::less_one;
};

struct GptqTensors {
  TensorView qweight, qzeros, scales;
  std::optional<TensorView> g_idx;
};

struct GptqPacked {
  Tensor qweight, qzeros, scales, g_idx;
};

// Borrows the tensors' bytes. Reads all zero points and groups, no codes. where: for messages. Error(corrupt): tensors
// that do not fit each other; Error(unsupported): other widths, numbers of inputs or outputs that do not fill words,
// groups of different sizes, and zero points of 0 in the less_one form, which programs read in different ways.
TensorSource read_gptq(const GptqLayout& layout, const GptqTensors& tensors, const std::string& where);

// A tensor in a planar format of integers, groups or rows, perhaps with an input order. Error(unsupported) where the
// layout cannot hold it, as above.
GptqPacked pack_gptq(const QuantizedView& view, GptqZeros zeros, const std::string& where);

}  // namespace nibble
