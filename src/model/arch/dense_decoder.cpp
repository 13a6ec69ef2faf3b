// SPDX-License-Identifier: Apache-2.0
#include "model/arch/dense_decoder.h"

namespace nibble {

std::vector<TensorPattern> dense_decoder_tensors() {
  using enum TensorRole;
  using enum Extent;
  constexpr auto kAlways = Presence::always;
  constexpr auto kAttentionBias = Presence::attention_bias;
  constexpr auto kMlpBias = Presence::mlp_bias;
  constexpr auto kPlain = RotaryRows::none;
  return {
      {"embedding", "model.embed_tokens.weight", "token_embd.weight", embedding, vocab, hidden, kAlways, kPlain},
      {"attention_norm", "model.layers.{}.input_layernorm.weight", "blk.{}.attn_norm.weight", norm, one, hidden, kAlways, kPlain},
      {"q", "model.layers.{}.self_attn.q_proj.weight", "blk.{}.attn_q.weight", linear, query, hidden, kAlways, RotaryRows::query},
      {"k", "model.layers.{}.self_attn.k_proj.weight", "blk.{}.attn_k.weight", linear, key_value, hidden, kAlways, RotaryRows::key},
      {"v", "model.layers.{}.self_attn.v_proj.weight", "blk.{}.attn_v.weight", linear, key_value, hidden, kAlways, kPlain},
      {"o", "model.layers.{}.self_attn.o_proj.weight", "blk.{}.attn_output.weight", linear, hidden, query, kAlways, kPlain},
      {"q.bias", "model.layers.{}.self_attn.q_proj.bias", "blk.{}.attn_q.bias", bias, one, query, kAttentionBias, RotaryRows::query},
      {"k.bias", "model.layers.{}.self_attn.k_proj.bias", "blk.{}.attn_k.bias", bias, one, key_value, kAttentionBias, RotaryRows::key},
      {"v.bias", "model.layers.{}.self_attn.v_proj.bias", "blk.{}.attn_v.bias", bias, one, key_value, kAttentionBias, kPlain},
      {"o.bias", "model.layers.{}.self_attn.o_proj.bias", "blk.{}.attn_output.bias", bias, one, hidden, Presence::output_bias, kPlain},
      {"mlp_norm", "model.layers.{}.post_attention_layernorm.weight", "blk.{}.ffn_norm.weight", norm, one, hidden, kAlways, kPlain},
      {"gate", "model.layers.{}.mlp.gate_proj.weight", "blk.{}.ffn_gate.weight", linear, intermediate, hidden, kAlways, kPlain},
      {"up", "model.layers.{}.mlp.up_proj.weight", "blk.{}.ffn_up.weight", linear, intermediate, hidden, kAlways, kPlain},
      {"down", "model.layers.{}.mlp.down_proj.weight", "blk.{}.ffn_down.weight", linear, hidden, intermediate, kAlways, kPlain},
      {"gate.bias", "model.layers.{}.mlp.gate_proj.bias", "blk.{}.ffn_gate.bias", bias, one, intermediate, kMlpBias, kPlain},
      {"up.bias", "model.layers.{}.mlp.up_proj.bias", "blk.{}.ffn_up.bias", bias, one, intermediate, kMlpBias, kPlain},
      {"down.bias", "model.layers.{}.mlp.down_proj.bias", "blk.{}.ffn_down.bias", bias, one, hidden, kMlpBias, kPlain},
      {"final_norm", "model.norm.weight", "output_norm.weight", norm, one, hidden, kAlways, kPlain},
      {"head", "lm_head.weight", "output.weight", head, vocab, hidden, Presence::untied, kPlain},
  };
}

std::vector<Site> dense_decoder_sites() {
  return {{"attention_in", {"q", "k", "v"}}, {"attention_out", {"o"}}, {"mlp_in", {"gate", "up"}}, {"mlp_out", {"down"}}};
}

std::vector<FoldSite> dense_decoder_folds() {
  // silu(gate) * up is linear in up, so its rows scale the columns of down; attention mixes positions, not channels, so the rows of v
  // scale the columns of o.
  return {{"attention_norm", {"q", "k", "v"}, false}, {"v", {"o"}, true}, {"mlp_norm", {"gate", "up"}, false}, {"up", {"down"}, false},
          {"final_norm", {"head"}, false}};
}

std::vector<FusedGroup> dense_decoder_fused() { return {{"qkv", {"q", "k", "v"}}, {"gate_up", {"gate", "up"}}}; }

}  // namespace nibble
