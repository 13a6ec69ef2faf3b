// SPDX-License-Identifier: Apache-2.0
//
// Attention over whole sequences by dense products, forwards and backwards: a run of queries at a time meets the keys
// that it sees. The definition is graph/op/attention.h's; sums run in f32. The same bits for any number of threads.
//
//   attend({op, {8, 512}, q, k, v, {}}, out, room);
//   add_attention_gradient({op, {8, 512}, q, k, v, {}}, dy, {dq, dk, dv, {}}, room);
#pragma once

#include <span>

#include "graph/op/attention.h"
#include "train/tape_room.h"

namespace nibble {

struct AttentionOperands {
  const Attention& op;
  SequenceBatch batch;
  const float *queries, *keys, *values;  // [tokens, heads * head_dim], [tokens, kv_heads * head_dim]
  std::span<const float> sinks;          // [heads], or none
};

// What gradients are added to, as the operands.
struct AttentionGradients {
  float *queries, *keys, *values;
  std::span<float> sinks;  // empty: nobody asks
};

void attend(const AttentionOperands& operands, float* out, TapeRoom& room);
void add_attention_gradient(const AttentionOperands& operands, const float* output_gradient,
                            const AttentionGradients& into, TapeRoom& room);

}  // namespace nibble
