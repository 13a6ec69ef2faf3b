// SPDX-License-Identifier: Apache-2.0
//
// Phi 3 (Abdin et al. 2024), 3.5, 4 and 4-mini: Llama whose queries, keys and values are one matrix, as are gate and
// up; LongRoPE, and in 4-mini positions that turn part of a head.
#include <fmt/format.h>

#include <utility>

#include "graph/drawing.h"
#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"
#include "nibble/error.h"

namespace nibble {
namespace {

Graph draw_layer(const ModelConfig& c, std::int64_t layer) {
  const std::uint64_t query = c.heads * c.head_dim, key_value = c.kv_heads * c.head_dim, wide = c.intermediate;
  const Rope rope = rope_of(c, layer);

  Drawing d;
  Value x = d.input(token_rows(c.hidden));
  const Value qkv =
      d.linear(d.rms_norm(x, "attention_norm", c.norm_epsilon), "attention_in", {"qkv", query + 2 * key_value});
  const Value q = d.slice(qkv, 0, query), k = d.slice(qkv, query, key_value),
              v = d.slice(qkv, query + key_value, key_value);
  const Value mixed = d.attention(d.rope(q, rope), d.rope(k, rope), v, attention_of(c, layer));
  x = d.add(x, d.linear(mixed, "attention_out", {"o", c.hidden}));
  const Value both = d.linear(d.rms_norm(x, "mlp_norm", c.norm_epsilon), "mlp_in", {"gate_up", 2 * wide});
  const Value gate = d.slice(both, 0, wide), up = d.slice(both, wide, wide);
  x = d.add(x, d.linear(d.multiply(d.silu(gate), up), "mlp_out", {"down", c.hidden}));
  return std::move(d).finish({x});
}

}  // namespace

Architecture phi3_architecture() {
  Architecture a;
  a.title = "Phi 3, Phi 3.5, Phi 4, Phi 4 mini";
  a.name = a.gguf_name = "phi3";
  a.rotates_partly = a.gguf_longrope = true;
  a.variants = {{.model_type = "phi3",
                 .class_name = "Phi3ForCausalLM",
                 .default_context = 4096,
                 .default_original_context = 4096,
                 .default_norm_epsilon = 1e-5,
                 .reads_sliding_window = true}};
  a.write_gguf = [](const ModelConfig& c, const std::string&, GgufMetadata&) {
    if (c.heads * c.head_dim != c.hidden)
      throw Error(
          ErrorKind::unsupported,
          fmt::format(
              "llama.cpp reads no file of this family whose heads are not as wide as the model together; write a "
              "directory instead: {} heads of {}, width {}",
              c.heads, c.head_dim, c.hidden));
  };
  a.names = {
      {"embedding", "model.embed_tokens.weight", "token_embd.weight"},
      {"attention_norm", "model.layers.{}.input_layernorm.weight", "blk.{}.attn_norm.weight"},
      {"qkv", "model.layers.{}.self_attn.qkv_proj.weight", "blk.{}.attn_qkv.weight"},
      {"o", "model.layers.{}.self_attn.o_proj.weight", "blk.{}.attn_output.weight"},
      {"mlp_norm", "model.layers.{}.post_attention_layernorm.weight", "blk.{}.ffn_norm.weight"},
      {"gate_up", "model.layers.{}.mlp.gate_up_proj.weight", "blk.{}.ffn_up.weight"},
      {"down", "model.layers.{}.mlp.down_proj.weight", "blk.{}.ffn_down.weight"},
      {"final_norm", "model.norm.weight", "output_norm.weight"},
      {"head", "lm_head.weight", "output.weight"},
  };
  a.draw_begin = draw_embedding;
  a.draw_layer = draw_layer;
  a.draw_end = draw_head;
  return a;
}

}  // namespace nibble
