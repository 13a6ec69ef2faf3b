// SPDX-License-Identifier: Apache-2.0
//
// OLMo 2 (OLMo Team 2024) and OLMo 3 (2025): norms of whole queries and keys, of what attention and MLP make, and none
// of what these read; three of four layers of OLMo 3 slide, whose positions yarn does not stretch. OLMoE (Muennighoff
// et al. 2024) has norms before attention and experts, and of whole queries and keys. GGUF files of the first two say
// "olmo2".
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "graph/drawing.h"
#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::uint64_t kFullEvery = 4;
constexpr double kSlidingBase = 500000;  // of OLMo 3's class, in layers that slide

// Attention of h, whose queries and keys are normed before they are heads.
Value draw_attention(Drawing& d, Value h, const ModelConfig& c, std::int64_t layer) {
  const std::uint64_t query = c.heads * c.head_dim, key_value = c.kv_heads * c.head_dim;
  const Rope rope = rope_of(c, layer);
  const bool b = c.attention_bias;
  auto [q, k, v] = d.linears(h, "attention_in", {{"q", query, b}, {"k", key_value, b}, {"v", key_value, b}});
  q = d.rope(d.rms_norm(q, "q_norm", c.norm_epsilon), rope);
  k = d.rope(d.rms_norm(k, "k_norm", c.norm_epsilon), rope);
  return d.linear(d.attention(q, k, v, attention_of(c, layer)), "attention_out", {"o", c.hidden, c.output_bias});
}

Graph draw_olmo2_layer(const ModelConfig& c, std::int64_t layer) {
  Drawing d;
  Value x = d.input(token_rows(c.hidden));
  x = d.add(x, d.rms_norm(draw_attention(d, x, c, layer), "after_attention_norm", c.norm_epsilon));
  x = d.add(x, d.rms_norm(draw_gated_mlp(d, x, c, &Drawing::silu), "after_mlp_norm", c.norm_epsilon));
  return std::move(d).finish({x});
}

Graph draw_olmoe_layer(const ModelConfig& c, std::int64_t layer) {
  Drawing d;
  Value x = d.input(token_rows(c.hidden));
  x = d.add(x, draw_attention(d, d.rms_norm(x, "attention_norm", c.norm_epsilon), c, layer));
  x = d.add(x, draw_experts(d, d.rms_norm(x, "mlp_norm", c.norm_epsilon), c));
  return std::move(d).finish({x});
}

std::vector<TensorName> names() {
  std::vector<TensorName> names = dense_decoder_names();
  names.insert(std::ranges::find(names, "mlp_norm", &TensorName::part),
               {{"q_norm", "model.layers.{}.self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight"},
                {"k_norm", "model.layers.{}.self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight"}});
  return names;
}

std::vector<TensorName> olmo2_names() {
  std::vector<TensorName> result = names();
  const auto at = [&](std::string_view part) { return std::ranges::find(result, part, &TensorName::part); };
  result.erase(at("attention_norm"));
  *at("mlp_norm") = {"after_attention_norm", "model.layers.{}.post_attention_layernorm.weight",
                     "blk.{}.post_attention_norm.weight"};
  result.insert(at("final_norm"),
                {"after_mlp_norm", "model.layers.{}.post_feedforward_layernorm.weight", "blk.{}.post_ffw_norm.weight"});
  return result;
}

std::vector<TensorName> olmoe_names() {
  std::vector<TensorName> result = names();
  for (const std::string_view part : {"gate", "up", "down", "gate.bias", "up.bias", "down.bias"})
    result.erase(std::ranges::find(result, part, &TensorName::part));
  const std::vector<TensorName> experts = mlp_expert_names();
  result.insert(std::ranges::find(result, "final_norm", &TensorName::part), experts.begin(), experts.end());
  return result;
}

// What llama.cpp asks of files of both families.
void require_llama_cpp_shape(const ModelConfig& c) {
  require_no_biases(c);
  if (c.tied_embedding || c.heads * c.head_dim != c.hidden)
    throw Error(
        ErrorKind::unsupported,
        "llama.cpp reads files of this family only with a head beside the embedding, and with heads that are as "
        "wide as the model together; write a directory instead");
}

// --- OLMo 2 and 3 ----------------------------------------------------------------------------------------------------

// llama.cpp stretches no positions of layers that slide, and turns them by the base of the others whatever a file says.
void read_olmo2_gguf(const GgufKeys& keys, ModelConfig& c) {
  if (c.sliding_window == 0) return;
  if (const auto base = keys.number("rope.freq_base_swa"); base && *base != c.rope.base)
    keys.unsupported(fmt::format("a rotary base of layers that slide alone cannot be run in this family; {}: {}",
                                 keys.full("rope.freq_base_swa"), *base));
  RopeConfig& own = c.sliding_rope.emplace();
  own.base = c.rope.base;
  own.rotary_dim = c.rope.rotary_dim;
  own.half_split = c.rope.half_split;
}

void write_olmo2_gguf(const ModelConfig& c, const std::string&, GgufMetadata&) {
  require_llama_cpp_shape(c);
  if (c.sliding_window == 0 || !c.sliding_rope) return;
  if (c.sliding_rope->scaling != RopeScaling::none || c.sliding_rope->base != c.rope.base)
    throw Error(ErrorKind::unsupported,
                "llama.cpp turns layers that slide by the base of the others, and does not stretch them; write a "
                "directory instead: rope_parameters.sliding_attention");
}

// Positions by kind of layer, unless the class means them anyway.
void write_olmo2_huggingface(const ModelConfig& c, nlohmann::ordered_json& json) {
  if (c.sliding_window == 0 || !c.sliding_rope || c.sliding_rope->base == kSlidingBase) return;
  nlohmann::ordered_json full = {{"rope_type", "default"}};
  if (!json["rope_scaling"].is_null()) full = json["rope_scaling"];
  full["rope_theta"] = json["rope_theta"];
  json.erase("rope_scaling");
  json.erase("rope_theta");
  json["rope_parameters"] = {
      {"full_attention", full},
      {"sliding_attention",
       {{"rope_type", "default"}, {"rope_theta", shortest_decimal(static_cast<float>(c.sliding_rope->base))}}}};
}

// --- OLMoE -----------------------------------------------------------------------------------------------------------

void read_olmoe(const HuggingFaceFields& fields, ModelConfig& c) {
  if (fields.number("clip_qkv", 0) != 0)
    fields.unsupported("queries, keys and values that are bounded cannot be run in this family; clip_qkv must be null");
  if (c.num_experts == 0) fields.wrong("num_experts", "at least 1", 0);
  c.normalizes_routing = fields.boolean("norm_topk_prob", false);
}

void write_olmoe(const ModelConfig& c, nlohmann::ordered_json& json) {
  json["num_experts"] = c.num_experts;
  json["num_experts_per_tok"] = c.experts_used;
  json["norm_topk_prob"] = c.normalizes_routing;
}

void write_olmoe_gguf(const ModelConfig& c, const std::string&, GgufMetadata&) {
  require_llama_cpp_shape(c);
  if (c.kv_heads != c.heads)
    throw Error(ErrorKind::unsupported,
                fmt::format("llama.cpp reads no file of this family whose keys have fewer heads than queries; write a "
                            "directory instead: {}, {}",
                            c.kv_heads, c.heads));
  require_plain_routing(c);
}

}  // namespace

Architecture olmo2_architecture() {
  Architecture a;
  a.title = "OLMo 2, OLMo 3";
  a.name = a.gguf_name = "olmo2";
  a.llama_cpp_slides = true;
  a.gguf_full_every = kFullEvery;
  a.variants = {{.model_type = "olmo2", .class_name = "Olmo2ForCausalLM", .default_norm_epsilon = 1e-5},
                {.model_type = "olmo3",
                 .class_name = "Olmo3ForCausalLM",
                 .default_norm_epsilon = 1e-5,
                 .default_sliding_window = 4096,
                 .default_full_every = kFullEvery,
                 .default_rope_base = 500000,
                 .default_local_rope_base = kSlidingBase}};
  a.names = olmo2_names();
  a.draw_begin = draw_embedding;
  a.draw_layer = draw_olmo2_layer;
  a.draw_end = draw_head;
  a.read_gguf = read_olmo2_gguf;
  a.write_gguf = write_olmo2_gguf;
  a.write_huggingface = write_olmo2_huggingface;
  return a;
}

Architecture olmoe_architecture() {
  Architecture a;
  a.title = "OLMoE";
  a.name = a.gguf_name = "olmoe";
  a.variants = {{.model_type = "olmoe",
                 .class_name = "OlmoeForCausalLM",
                 .default_context = 4096,
                 .default_norm_epsilon = 1e-5,
                 .default_experts = 64,
                 .default_experts_used = 8,
                 .normalizes_routing = false}};
  a.names = olmoe_names();
  a.draw_begin = draw_embedding;
  a.draw_layer = draw_olmoe_layer;
  a.draw_end = draw_head;
  a.read_huggingface = read_olmoe;
  a.read_gguf = [](const GgufKeys& keys, ModelConfig& c) {
    if (c.num_experts == 0) keys.missing("expert_count");
    c.normalizes_routing = false;
  };
  a.write_huggingface = write_olmoe;
  a.write_gguf = write_olmoe_gguf;
  return a;
}

}  // namespace nibble
