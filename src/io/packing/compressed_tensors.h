// SPDX-License-Identifier: Apache-2.0
//
// The layout "pack-quantized" of compressed-tensors, in which llm-compressor leaves weights of few bits. With `in`
// inputs, `out` outputs, b bits a code and G = ceil(in / group) groups (1 for the strategy "channel"):
//
//   weight_packed      I32 [out, ceil(in * b / 32)]  q + 2^(b-1) of signed codes q, along the inputs, least significant
//                                                    bit first, across words where b does not divide 32; rows padded
//   weight_scale       F16, BF16 or F32 [out, G]
//   weight_zero_point  I32 [ceil(out * b / 32), G]   only of asymmetric layers: z + 2^(b-1), packed *down* the outputs
//   weight_shape       I64 [2] = out, in
//   weight_g_idx       I32 [in]                      only with an activation order: the group of each input
//
// A weight is weight_scale[n, g] * (q - z). Of 3, 5, 6 and 7 bits older writers put as many as fit into each word and
// left the rest of it empty: those are refused.
//
//   const TensorSource source = read_pack_quantized({.bits = 4, .group = 128}, tensors, "layer 'q_proj'");
//   const PackQuantizedPacked same = pack_pack_quantized(view, "layer 'q_proj'");
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "format/tensor_source.h"
#include "tensor/tensor.h"

namespace nibble {

struct PackQuantizedLayout {
  unsigned bits = 4;          // 2 .. 8
  std::uint32_t group = 128;  // inputs that share a scale; 0: all of them
};

struct PackQuantizedTensors {
  TensorView weight_packed, weight_scale, weight_shape;
  std::optional<TensorView> weight_zero_point{}, weight_g_idx{};
};

struct PackQuantizedPacked {
  Tensor weight_packed, weight_scale, weight_shape;
  std::optional<Tensor> weight_zero_point{}, weight_g_idx{};
};

// Borrows the tensors' bytes; where these are the planes already, nothing is unpacked. where: for messages.
// Error(corrupt): tensors that do not fit each other; Error(unsupported): other widths, the older form, groups of
// different sizes.
TensorSource read_pack_quantized(const PackQuantizedLayout& layout, const PackQuantizedTensors& tensors,
                                 const std::string& where);

// A tensor in a planar format of integers, groups or rows, perhaps with an input order. Error(unsupported): any other.
PackQuantizedPacked pack_pack_quantized(const QuantizedView& view, const std::string& where);

}  // namespace nibble
