// SPDX-License-Identifier: Apache-2.0
#include "model/arch/dense_decoder.h"

#include <cmath>
#include <utility>

#include "graph/drawing.h"
#include "nibble/error.h"

namespace nibble {

std::vector<TensorName> dense_decoder_names() {
  std::vector<TensorName> names = {
      {"embedding", "model.embed_tokens.weight", "token_embd.weight"},
      {"attention_norm", "model.layers.{}.input_layernorm.weight", "blk.{}.attn_norm.weight"},
      {"q", "model.layers.{}.self_attn.q_proj.weight", "blk.{}.attn_q.weight"},
      {"k", "model.layers.{}.self_attn.k_proj.weight", "blk.{}.attn_k.weight"},
      {"v", "model.layers.{}.self_attn.v_proj.weight", "blk.{}.attn_v.weight"},
      {"o", "model.layers.{}.self_attn.o_proj.weight", "blk.{}.attn_output.weight"},
      {"q.bias", "model.layers.{}.self_attn.q_proj.bias", "blk.{}.attn_q.bias"},
      {"k.bias", "model.layers.{}.self_attn.k_proj.bias", "blk.{}.attn_k.bias"},
      {"v.bias", "model.layers.{}.self_attn.v_proj.bias", "blk.{}.attn_v.bias"},
      {"o.bias", "model.layers.{}.self_attn.o_proj.bias", "blk.{}.attn_output.bias"},
      {"mlp_norm", "model.layers.{}.post_attention_layernorm.weight", "blk.{}.ffn_norm.weight"},
      {"gate", "model.layers.{}.mlp.gate_proj.weight", "blk.{}.ffn_gate.weight"},
      {"up", "model.layers.{}.mlp.up_proj.weight", "blk.{}.ffn_up.weight"},
      {"down", "model.layers.{}.mlp.down_proj.weight", "blk.{}.ffn_down.weight"},
      {"gate.bias", "model.layers.{}.mlp.gate_proj.bias", "blk.{}.ffn_gate.bias"},
      {"up.bias", "model.layers.{}.mlp.up_proj.bias", "blk.{}.ffn_up.bias"},
      {"down.bias", "model.layers.{}.mlp.down_proj.bias", "blk.{}.ffn_down.bias"},
      {"final_norm", "model.norm.weight", "output_norm.weight"},
      {"head", "lm_head.weight", "output.weight"},
  };
  for (TensorName& name : names) {
    if (name.part == "q" || name.part == "k" || name.part == "v") name.gguf_joint = "blk.{}.attn_qkv.weight";
    if (name.part == "q.bias" || name.part == "k.bias" || name.part == "v.bias")
      name.gguf_joint = "blk.{}.attn_qkv.bias";
  }
  return names;
}

Rope rope_of(const ModelConfig& c, std::int64_t layer) {
  const RopeConfig& rope = c.rope_of(layer);
  return {c.head_dim_of(layer), rope_inverse_frequencies(rope), rope.half_split,
          rope.magnitude,       rope_long_frequencies(rope),    rope.original_context};
}

Attention attention_of(const ModelConfig& c, std::int64_t layer) {
  const double length =
      c.query_pre_attn_scalar != 0 ? c.query_pre_attn_scalar : static_cast<double>(c.head_dim_of(layer));
  return {c.heads,
          c.kv_heads_of(layer),
          c.head_dim_of(layer),
          c.attention_scale != 0 ? c.attention_scale : static_cast<float>(1 / std::sqrt(length)),
          c.window_of(layer),
          c.attention_soft_cap};
}

Value draw_gated_mlp(Drawing& d, Value h, const ModelConfig& c, Value (Drawing::*activation)(Value)) {
  const auto [gate, up] =
      d.linears(h, "mlp_in", {{"gate", c.intermediate, c.mlp_bias}, {"up", c.intermediate, c.mlp_bias}});
  return d.linear(d.multiply((d.*activation)(gate), up), "mlp_out", {"down", c.hidden, c.mlp_bias});
}

Value draw_unbiased_mlp(Drawing& d, Value h, const ModelConfig& c) {
  const auto [gate, up] = d.linears(h, "mlp_in", {{"gate", c.intermediate}, {"up", c.intermediate}});
  return d.linear(d.multiply(d.silu(gate), up), "mlp_out", {"down", c.hidden});
}

Route routing_of(const ModelConfig& c) {
  return {.used = c.experts_used,
          .normalizes = c.normalizes_routing,
          .score = c.routes_by_sigmoid ? Route::Score::sigmoid : Route::Score::softmax,
          .correction = c.corrects_routing ? "router_correction" : "",
          .groups = c.expert_groups,
          .groups_used = c.expert_groups_used,
          .group_score = c.groups_count_two ? Route::GroupScore::two_largest : Route::GroupScore::largest,
          .factor = c.routing_factor,
          .sum_offset = c.routing_offset};
}

Value draw_experts(Drawing& d, Value h, const ModelConfig& c) {
  const Value routing =
      d.route(d.linear(h, "mlp_in", {"router", c.num_experts, false, TensorRole::router}), routing_of(c));
  const Value gate = d.expert_linear(h, routing, "experts_in", "expert_gate", c.expert_intermediate);
  const Value up = d.expert_linear(h, routing, "experts_in", "expert_up", c.expert_intermediate);
  return d.mix_experts(d.expert_linear(d.multiply(d.silu(gate), up), routing, "experts_out", "expert_down", c.hidden),
                       routing);
}

Value draw_mlp(Drawing& d, Value h, const ModelConfig& c, std::int64_t layer) {
  return c.has_experts(layer) ? draw_experts(d, h, c) : draw_gated_mlp(d, h, c, &Drawing::silu);
}

std::vector<TensorName> expert_names(std::string_view router, std::string_view gate, std::string_view up,
                                     std::string_view down) {
  constexpr std::string_view kGateUp = "model.layers.{}.mlp.experts.gate_up_proj";
  std::vector<TensorName> names = {
      {"router", router, "blk.{}.ffn_gate_inp.weight", 0, "model.layers.{}.mlp.gate.weight"},
      {"expert_gate", gate, "blk.{}.ffn_gate_exps.weight", 0, kGateUp, 0, 2},
      {"expert_up", up, "blk.{}.ffn_up_exps.weight", 0, kGateUp, 1, 2},
      {"expert_down", down, "blk.{}.ffn_down_exps.weight", 0, "model.layers.{}.mlp.experts.down_proj"},
  };
  names[1].gguf_joint = names[2].gguf_joint = kGgufGateUpStack;
  names[1].hf_own_stack = "model.layers.{}.mlp.switch_mlp.gate_proj.weight";
  names[2].hf_own_stack = "model.layers.{}.mlp.switch_mlp.up_proj.weight";
  names[3].hf_own_stack = "model.layers.{}.mlp.switch_mlp.down_proj.weight";
  return names;
}

std::vector<TensorName> mlp_expert_names() {
  return expert_names("model.layers.{}.mlp.gate.weight", "model.layers.{}.mlp.experts.{}.gate_proj.weight",
                      "model.layers.{}.mlp.experts.{}.up_proj.weight",
                      "model.layers.{}.mlp.experts.{}.down_proj.weight");
}

void require_no_biases(const ModelConfig& c) {
  if (c.attention_bias || c.output_bias || c.mlp_bias)
    throw Error(ErrorKind::unsupported, "llama.cpp reads no biases in files of this family; write a directory instead");
}

void require_plain_routing(const ModelConfig& c) {
  if (c.normalizes_routing)
    throw Error(ErrorKind::unsupported,
                "GGUF files of this family cannot say that experts' weights are made to sum to 1; write a directory "
                "instead: norm_topk_prob true");
}

Graph draw_embedding(const ModelConfig& c) {
  Drawing d;
  return std::move(d).finish({d.embedding("embedding", c.vocab_size, c.hidden)});
}

Value draw_dense_attention(Drawing& d, Value h, const ModelConfig& c, std::int64_t layer) {
  const std::uint64_t query = c.heads * c.head_dim, key_value = c.kv_heads * c.head_dim;
  const Rope rope = rope_of(c, layer);
  const bool b = c.attention_bias;
  const auto [q, k, v] = d.linears(h, "attention_in", {{"q", query, b}, {"k", key_value, b}, {"v", key_value, b}});
  const auto turned = [&](Value heads) { return c.is_unturned(layer) ? heads : d.rope(heads, rope); };
  Value queries = turned(q);
  if (c.rope.query_growth != 0) queries = d.scale_by_position(queries, c.rope.query_growth, c.rope.original_context);
  const Value mixed = d.attention(queries, turned(k), v, attention_of(c, layer));
  return d.linear(mixed, "attention_out", {"o", c.hidden, c.output_bias});
}

Graph draw_dense_layer(const ModelConfig& c, std::int64_t layer) {
  Drawing d;
  Value x = d.input(token_rows(c.hidden));
  x = d.add(x, draw_dense_attention(d, d.rms_norm(x, "attention_norm", c.norm_epsilon), c, layer));
  x = d.add(x, draw_mlp(d, d.rms_norm(x, "mlp_norm", c.norm_epsilon), c, layer));
  return std::move(d).finish({x});
}

Value draw_logits(Drawing& d, Value h, const ModelConfig& c) {
  const LinearSpec tied{"embedding", c.vocab_size, false, TensorRole::embedding},
      own{"head", c.vocab_size, false, TensorRole::head};
  const Value logits = d.linear(h, "head_in", c.tied_embedding ? tied : own);
  return c.logit_soft_cap == 0 ? logits : d.soft_cap(logits, c.logit_soft_cap);
}

Graph draw_head(const ModelConfig& c) {
  Drawing d;
  const Value h = d.rms_norm(d.input(token_rows(c.hidden)), "final_norm", c.norm_epsilon);
  return std::move(d).finish({draw_logits(d, h, c)});
}

}  // namespace nibble
