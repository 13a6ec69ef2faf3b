// SPDX-License-Identifier: Apache-2.0
//
// GLM-4.5, 4.6 and 4.7 (GLM-4.5 Team 2025): Llama with biases on q, k and v whose positions turn halves of the first
// half of a head, the largest with queries and keys normed head by head before they turn; behind the first layers
// experts in the manner of DeepSeek V3 take the place of the MLP.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "graph/drawing.h"
#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"
#include "model/arch/guessing_layers.h"
#include "model/arch/routing_keys.h"
#include "model/arch/shared_expert.h"
#include "nibble/error.h"

namespace nibble {
namespace {

Graph draw_layer(const ModelConfig& c, std::int64_t layer) {
  const std::uint64_t query = c.heads * c.head_dim, key_value = c.kv_heads * c.head_dim;
  const Rope rope = rope_of(c, layer);

  Drawing d;
  Value x = d.input(token_rows(c.hidden));
  const bool b = c.attention_bias;
  const auto [q, k, v] = d.linears(d.rms_norm(x, "attention_norm", c.norm_epsilon), "attention_in",
                                   {{"q", query, b}, {"k", key_value, b}, {"v", key_value, b}});
  const auto turned = [&](Value heads, const char* norm) {
    return d.rope(c.norms_heads ? d.rms_norm_heads(heads, norm, c.norm_epsilon, c.head_dim) : heads, rope);
  };
  const Value mixed = d.attention(turned(q, "q_norm"), turned(k, "k_norm"), v, attention_of(c, layer));
  x = d.add(x, d.linear(mixed, "attention_out", {"o", c.hidden}));
  x = d.add(x, draw_deepseek_mixture(d, d.rms_norm(x, "mlp_norm", c.norm_epsilon), c, layer));
  return std::move(d).finish({x});
}

std::vector<TensorName> tensor_names() {
  std::vector<TensorName> names = dense_decoder_names();
  const auto at = [&](std::string_view part) { return std::ranges::find(names, part, &TensorName::part); };
  for (const std::string_view part : {"o.bias", "gate.bias", "up.bias", "down.bias"}) names.erase(at(part));
  at("mlp_norm")->gguf = "blk.{}.post_attention_norm.weight";
  names.insert(at("mlp_norm"), {{"q_norm", "model.layers.{}.self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight"},
                                {"k_norm", "model.layers.{}.self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight"}});
  const std::vector<TensorName> mixture = deepseek_mixture_names();
  names.insert(at("final_norm"), mixture.begin(), mixture.end());
  return names;
}

// The class knows no other biases, whatever a configuration says.
void set_common(ModelConfig& c) { c.output_bias = c.mlp_bias = false; }

void read_huggingface(const HuggingFaceFields& fields, ModelConfig& c) {
  set_common(c);
  c.norms_heads = fields.boolean("use_qk_norm", false);
  read_guessing_layers(fields, c);
  read_sigmoid_routing(fields, {}, c);
}

void write_huggingface(const ModelConfig& c, nlohmann::ordered_json& json) {
  json.erase("mlp_bias");
  if (!c.routes_by_sigmoid || !c.corrects_routing)
    throw Error(ErrorKind::unsupported,
                "directories of this family have routers by sigmoids with corrections, which this file does not have; "
                "keep the model in a GGUF file");
  write_sigmoid_routing(c, json);
  json["use_qk_norm"] = c.norms_heads;
  json["num_nextn_predict_layers"] = 0;
}

void read_gguf(const GgufKeys& keys, ModelConfig& c) {
  leave_guessing_layers(keys, c);
  set_common(c);
  c.norms_heads = keys.has_tensor("blk.0.attn_q_norm.weight");
  read_gguf_routing(keys, kSigmoidFunction, c);
}

}  // namespace

Architecture glm4moe_architecture() {
  Architecture a;
  a.title = "GLM-4.5, GLM-4.6, GLM-4.7";
  a.name = a.gguf_name = "glm4moe";
  a.rotates_partly = a.gguf_expert_width = true;
  a.gguf_own_keys.assign(std::begin(kGgufRoutingKeys), std::end(kGgufRoutingKeys));
  a.variants = {{.model_type = "glm4_moe",
                 .class_name = "Glm4MoeForCausalLM",
                 .default_kv_heads = 8,
                 .default_context = 131072,
                 .default_norm_epsilon = 1e-5,
                 .default_experts = 128,
                 .default_experts_used = 8,
                 .default_expert_intermediate = 1408,
                 .has_routing_keys = false,
                 .default_rotary_part = 0.5}};
  a.names = tensor_names();
  a.draw_begin = draw_embedding;
  a.draw_layer = draw_layer;
  a.draw_end = draw_head;
  a.read_huggingface = read_huggingface;
  a.read_gguf = read_gguf;
  a.write_huggingface = write_huggingface;
  a.write_gguf = write_gguf_routing;
  return a;
}

}  // namespace nibble
