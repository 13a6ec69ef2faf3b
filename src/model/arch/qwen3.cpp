// SPDX-License-Identifier: Apache-2.0
//
// Qwen 3 (Yang et al. 2025): Llama whose queries and keys are normed head by head before they turn, and rotary halves
// kept as they are in GGUF. Its sparse models have experts in place of the MLP.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "graph/drawing.h"
#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"
#include "nibble/error.h"

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
  x = d.add(x, draw_mlp(d, d.rms_norm(x, "mlp_norm", c.norm_epsilon), c, layer));
  return std::move(d).finish({x});
}

std::vector<TensorName> names() {
  std::vector<TensorName> names = dense_decoder_names();
  names.insert(std::ranges::find(names, "mlp_norm", &TensorName::part),
               {{"q_norm", "model.layers.{}.self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight"},
                {"k_norm", "model.layers.{}.self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight"}});
  return names;
}

// llama.cpp has experts in every layer of this family, and makes their weights sum to 1.
void write_experts(const ModelConfig& c, const std::string&, GgufMetadata&) {
  if (!c.dense.empty())
    throw Error(ErrorKind::unsupported,
                "GGUF files of this family cannot say that some layers have no experts; write a directory instead");
  if (!c.normalizes_routing)
    throw Error(ErrorKind::unsupported,
                "GGUF files of this family cannot say that experts' weights are used as they are; write a directory "
                "instead: norm_topk_prob false");
}

void write_expert_keys(const ModelConfig& c, nlohmann::ordered_json& json) {
  json["num_experts"] = c.num_experts;
  json["num_experts_per_tok"] = c.experts_used;
  json["moe_intermediate_size"] = c.expert_intermediate;
  json["norm_topk_prob"] = c.normalizes_routing;
  json["decoder_sparse_step"] = 1;
  json["mlp_only_layers"] = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < c.dense.size(); ++i)
    if (c.dense[i]) json["mlp_only_layers"].push_back(i);
}

}  // namespace

Architecture qwen3_architecture() {
  Architecture a;
  a.title = "Qwen 3";
  a.name = a.gguf_name = "qwen3";
  a.variants = {{.model_type = "qwen3",
                 .class_name = "Qwen3ForCausalLM",
                 .default_kv_heads = 32,
                 .default_head_dim = 128,
                 .default_context = 32768,
                 .default_sliding_window = 4096,
                 .window_needs_switch = true}};
  a.names = names();
  a.draw_begin = draw_embedding;
  a.draw_layer = draw_layer;
  a.draw_end = draw_head;
  return a;
}

Architecture qwen3moe_architecture() {
  Architecture a = qwen3_architecture();
  a.title = "Qwen 3 with experts";
  a.name = a.gguf_name = "qwen3moe";
  a.variants = {{.model_type = "qwen3_moe",
                 .class_name = "Qwen3MoeForCausalLM",
                 .default_kv_heads = 4,
                 .default_context = 32768,
                 .default_sliding_window = 4096,
                 .window_needs_switch = true,
                 .default_experts = 128,
                 .default_experts_used = 8,
                 .default_expert_intermediate = 768,
                 .normalizes_routing = false}};
  a.gguf_expert_width = true;
  const std::vector<TensorName> experts = mlp_expert_names();
  a.names.insert(std::ranges::find(a.names, "final_norm", &TensorName::part), experts.begin(), experts.end());
  a.write_gguf = write_experts;
  a.write_huggingface = write_expert_keys;
  return a;
}

}  // namespace nibble
