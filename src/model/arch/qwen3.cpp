// SPDX-License-Identifier: Apache-2.0
//
// Qwen 3, dense (Yang et al. 2025): Llama whose queries and keys are normed head by head before they turn, and rotary halves kept as they are in
// GGUF.
#include <algorithm>
#include <utility>

#include "graph/drawing.h"
#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"

namespace nibble {
namespace {

Graph draw_layer(const ModelConfig& c, std::int64_t layer) {
  const std::uint64_t query = c.heads * c.head_dim, key_value = c.kv_heads * c.head_dim;
  const Rope rope = rope_of(c, layer);

  Drawing d;
  Value x = d.input(token_rows(c.hidden));
  const Value h = d.rms_norm(x, "attention_norm", c.norm_epsilon);
  const bool b = c.attention_bias;
  auto [q, k, v] = d.linears(h, "attention_in", {{"q", query, b}, {"k", key_value, b}, {"v", key_value, b}});
  q = d.rope(d.rms_norm_heads(q, "q_norm", c.norm_epsilon, c.head_dim), rope);
  k = d.rope(d.rms_norm_heads(k, "k_norm", c.norm_epsilon, c.head_dim), rope);
  x = d.add(x, d.linear(d.attention(q, k, v, attention_of(c, layer)), "attention_out", {"o", c.hidden, c.output_bias}));
  x = d.add(x, draw_gated_mlp(d, d.rms_norm(x, "mlp_norm", c.norm_epsilon), c, &Drawing::silu));
  return std::move(d).finish({x});
}

}  // namespace

Architecture qwen3_architecture() {
  Architecture a;
  a.name = a.gguf_name = "qwen3";
  a.variants = {{.model_type = "qwen3",
                 .class_name = "Qwen3ForCausalLM",
                 .default_kv_heads = 32,
                 .default_head_dim = 128,
                 .default_context = 32768,
                 .default_sliding_window = 4096,
                 .window_needs_switch = true}};
  a.names = dense_decoder_names();
  a.names.insert(std::ranges::find(a.names, "mlp_norm", &TensorName::part),
                 {{"q_norm", "model.layers.{}.self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight"},
                  {"k_norm", "model.layers.{}.self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight"}});
  a.draw_begin = draw_embedding;
  a.draw_layer = draw_layer;
  a.draw_end = draw_head;
  return a;
}

}  // namespace nibble
