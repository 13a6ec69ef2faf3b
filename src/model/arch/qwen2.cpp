// SPDX-License-Identifier: Apache-2.0
//
// Qwen 2 and 2.5: Llama with biases on q, k and v that no configuration key announces, and rotary halves kept as they
// are in GGUF. Its sparse models have experts in place of the MLP, and one beside them that every token sees.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "graph/drawing.h"
#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"
#include "model/arch/shared_expert.h"
#include "nibble/error.h"

namespace nibble {
namespace {

Graph draw_sparse_layer(const ModelConfig& c, std::int64_t layer) {
  const std::uint64_t query = c.heads * c.head_dim, key_value = c.kv_heads * c.head_dim;
  const Rope rope = rope_of(c, layer);

  Drawing d;
  Value x = d.input(token_rows(c.hidden));
  const bool b = c.attention_bias;
  const auto [q, k, v] = d.linears(d.rms_norm(x, "attention_norm", c.norm_epsilon), "attention_in",
                                   {{"q", query, b}, {"k", key_value, b}, {"v", key_value, b}});
  const Value mixed = d.attention(d.rope(q, rope), d.rope(k, rope), v, attention_of(c, layer));
  x = d.add(x, d.linear(mixed, "attention_out", {"o", c.hidden}));
  const Value h = d.rms_norm(x, "mlp_norm", c.norm_epsilon);
  Value made = draw_mlp(d, h, c, layer);
  if (c.has_experts(layer)) made = d.add(made, draw_gated_shared_expert(d, h, c));
  x = d.add(x, made);
  return std::move(d).finish({x});
}

std::vector<TensorName> sparse_names() {
  std::vector<TensorName> names = dense_decoder_names(), own = gated_shared_expert_names();
  names.erase(std::ranges::find(names, "o.bias", &TensorName::part));
  const std::vector<TensorName> experts = mlp_expert_names();
  own.insert(own.end(), experts.begin(), experts.end());
  names.insert(std::ranges::find(names, "final_norm", &TensorName::part), own.begin(), own.end());
  return names;
}

void read_sparse(const HuggingFaceFields& fields, ModelConfig& c) {
  if (fields.boolean("use_sliding_window", false))
    fields.unsupported("layers within a window cannot be run in this family; use_sliding_window");
  c.attention_bias = fields.boolean("qkv_bias", true);
  c.normalizes_routing = fields.boolean("norm_topk_prob", false);
  c.shared_intermediate = fields.integer("shared_expert_intermediate_size", 5632);
  if (c.shared_intermediate < 1 || c.shared_intermediate > kMostSharedWidth)
    fields.wrong("shared_expert_intermediate_size", "a width that a model can have", c.shared_intermediate);
}

void read_sparse_gguf(const GgufKeys& keys, ModelConfig& c) {
  c.normalizes_routing = false;
  c.shared_intermediate = read_shared_width(keys);
  if (c.shared_intermediate == 0) keys.missing("expert_shared_feed_forward_length");
}

void write_sparse(const ModelConfig& c, nlohmann::ordered_json& json) {
  json["num_experts"] = c.num_experts;
  json["num_experts_per_tok"] = c.experts_used;
  json["moe_intermediate_size"] = c.expert_intermediate;
  json["shared_expert_intermediate_size"] = c.shared_intermediate;
  json["norm_topk_prob"] = c.normalizes_routing;
  json["qkv_bias"] = c.attention_bias;
  json["decoder_sparse_step"] = 1;
  json["mlp_only_layers"] = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < c.dense.size(); ++i)
    if (c.dense[i]) json["mlp_only_layers"].push_back(i);
}

// llama.cpp has experts in every layer of this family, uses their weights as they are, and reads a head of its own and
// biases always.
void write_sparse_gguf(const ModelConfig& c, const std::string& prefix, GgufMetadata& metadata) {
  const auto refuse = [](const char* what) { throw Error(ErrorKind::unsupported, what); };
  if (!c.dense.empty())
    refuse("GGUF files of this family cannot say that some layers have no experts; write a directory instead");
  require_plain_routing(c);
  if (c.tied_embedding || !c.attention_bias)
    refuse(
        "llama.cpp reads files of this family only with a head beside the embedding and with biases on q, k and v; "
        "write a directory instead");
  write_shared_width(c, prefix, metadata);
}

}  // namespace

Architecture qwen2_architecture() {
  Architecture a;
  a.title = "Qwen 2, Qwen 2.5";
  a.name = a.gguf_name = "qwen2";
  a.gguf_qkv_bias = true;
  a.variants = {{.model_type = "qwen2",
                 .class_name = "Qwen2ForCausalLM",
                 .default_kv_heads = 32,
                 .default_context = 32768,
                 .default_sliding_window = 4096,
                 .window_needs_switch = true,
                 .always_qkv_bias = true}};
  a.names = dense_decoder_names();
  a.draw_begin = draw_embedding;
  a.draw_layer = draw_dense_layer;
  a.draw_end = draw_head;
  return a;
}

Architecture qwen2moe_architecture() {
  Architecture a;
  a.title = "Qwen 1.5 and 2 with experts";
  a.name = a.gguf_name = "qwen2moe";
  a.gguf_qkv_bias = a.gguf_expert_width = true;
  a.gguf_own_keys = {"expert_shared_feed_forward_length"};
  a.variants = {{.model_type = "qwen2_moe",
                 .class_name = "Qwen2MoeForCausalLM",
                 .default_kv_heads = 16,
                 .default_context = 32768,
                 .default_experts = 60,
                 .default_experts_used = 4,
                 .default_expert_intermediate = 1408,
                 .normalizes_routing = false,
                 .always_qkv_bias = true}};
  a.names = sparse_names();
  a.draw_begin = draw_embedding;
  a.draw_layer = draw_sparse_layer;
  a.draw_end = draw_head;
  a.read_huggingface = read_sparse;
  a.read_gguf = read_sparse_gguf;
  a.write_huggingface = write_sparse;
  a.write_gguf = write_sparse_gguf;
  return a;
}

}  // namespace nibble
