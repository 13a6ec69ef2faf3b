// SPDX-License-Identifier: Apache-2.0
//
// Operations that remember a fixed number of f32 numbers of a sequence and change them with every token: depthwise
// convolutions over tokens and the gated delta rule. One token after the other, so that results are the same bits for
// any cut of a text, any number of threads and any instruction set; what runs side by side are channels and heads.
//
//   causal_convolution(pieces, {.taps = taps, .num_taps = 4, .width = 6144, .activates = true}, machine);
#pragma once

#include <cstddef>
#include <span>

#include "kernels/machine.h"

namespace nibble {

// Consecutive tokens of one sequence.
struct ConvolutionPiece {
  float* state;  // [num_taps - 1, width]: the inputs of the tokens before, the oldest first
  std::size_t tokens;
  const float* x;  // [tokens, width]
  float* out;      // [tokens, width]; not x
};

struct ConvolutionTaps {
  const float* taps;            // [width, num_taps]
  std::size_t num_taps, width;  // at most kMostTaps (recurrent_parts.h)
  bool activates;               // silu of the sums
};

// out[t, c] = sum over j of taps[c, j] * x[t - num_taps + 1 + j, c], j ascending, one fused multiply-add each.
void causal_convolution(std::span<const ConvolutionPiece> pieces, const ConvolutionTaps& convolution, Machine& machine);

struct DeltaPiece {
  float* state;  // [heads, key_dim, value_dim]
  std::size_t tokens;
  const float *queries, *keys;    // [tokens, key_heads, key_dim]
  const float* values;            // [tokens, heads, value_dim]
  const float *forgets, *learns;  // [tokens, heads]
  float* out;                     // [tokens, heads, value_dim]
};

struct DeltaRule {
  const float *rate, *bias;  // [heads]
  std::size_t key_heads, heads, key_dim, value_dim;
  float scale;
  bool tiles_heads;  // head h reads key head h % key_heads; else h / (heads / key_heads)
};

// graph/op/gated_delta_rule.h. Each sum runs over key_dim ascending, one fused multiply-add each; what is kept and what
// is learnt are computed in f64 and rounded.
void gated_delta_rule(std::span<const DeltaPiece> pieces, const DeltaRule& rule, Machine& machine);

}  // namespace nibble
