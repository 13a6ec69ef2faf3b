// SPDX-License-Identifier: Apache-2.0
//
// Granite 3 and 4 (IBM 2024, 2025): Llama whose embedding, branches, scores and logits are multiplied by numbers of the
// configuration, with experts in place of the MLP or without. Granite 4's class is one of layers that recur, too; of
// models that have none of those, the shared expert is the MLP. GGUF files call these "granite", the sparse ones
// "granitemoe".
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "graph/drawing.h"
#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"
#include "model/arch/shared_expert.h"
#include "model/layer_types.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::string_view kSparse = "granitemoe";

Value scaled(Drawing& d, Value x, float factor) { return factor == 1 ? x : d.scale(x, factor); }

Graph draw_begin(const ModelConfig& c) {
  Drawing d;
  return std::move(d).finish({scaled(d, d.embedding("embedding", c.vocab_size, c.hidden), c.embedding_scale)});
}

Graph draw_layer(const ModelConfig& c, std::int64_t layer) {
  Drawing d;
  Value x = d.input(token_rows(c.hidden));
  const Value mixed = draw_dense_attention(d, d.rms_norm(x, "attention_norm", c.norm_epsilon), c, layer);
  x = d.add(x, scaled(d, mixed, c.residual_scale));
  const Value h = d.rms_norm(x, "mlp_norm", c.norm_epsilon);
  Value made = draw_mlp(d, h, c, layer);
  if (c.has_experts(layer) && c.shared_intermediate != 0) made = d.add(made, draw_shared_expert(d, h, c));
  x = d.add(x, scaled(d, made, c.residual_scale));
  return std::move(d).finish({x});
}

Graph draw_end(const ModelConfig& c) {
  Drawing d;
  const Value h = d.rms_norm(d.input(token_rows(c.hidden)), "final_norm", c.norm_epsilon);
  return std::move(d).finish({scaled(d, draw_logits(d, h, c), 1 / c.logit_divisor)});
}

// --- names -----------------------------------------------------------------------------------------------------------

// In the class of Granite 4 the MLP has a name of its own, gate above up.
std::vector<TensorName> dense_names() {
  std::vector<TensorName> names = dense_decoder_names();
  const auto at = [&](std::string_view part) { return std::ranges::find(names, part, &TensorName::part); };
  at("gate")->hf_stack = at("up")->hf_stack = "model.layers.{}.shared_mlp.input_linear.weight";
  at("down")->hf_stack = "model.layers.{}.shared_mlp.output_linear.weight";
  return names;
}

std::vector<TensorName> sparse_names() {
  std::vector<TensorName> names = dense_decoder_names();
  for (const std::string_view part : {"gate", "up", "down", "gate.bias", "up.bias", "down.bias"})
    names.erase(std::ranges::find(names, part, &TensorName::part));
  std::vector<TensorName> own =
      shared_expert_names("model.layers.{}.shared_mlp.gate_proj.weight", "model.layers.{}.shared_mlp.up_proj.weight",
                          "model.layers.{}.shared_mlp.down_proj.weight");
  own[0].hf_stack = own[1].hf_stack = "model.layers.{}.shared_mlp.input_linear.weight";
  own[2].hf_stack = "model.layers.{}.shared_mlp.output_linear.weight";
  std::vector<TensorName> experts = expert_names("model.layers.{}.block_sparse_moe.router.layer.weight",
                                                 "model.layers.{}.block_sparse_moe.experts.{}.gate_proj.weight",
                                                 "model.layers.{}.block_sparse_moe.experts.{}.up_proj.weight",
                                                 "model.layers.{}.block_sparse_moe.experts.{}.down_proj.weight");
  experts[0].hf_stack = {};
  experts[1].hf_stack = experts[2].hf_stack = "model.layers.{}.block_sparse_moe.input_linear.weight";
  experts[3].hf_stack = "model.layers.{}.block_sparse_moe.output_linear.weight";
  own.insert(own.end(), experts.begin(), experts.end());
  names.insert(std::ranges::find(names, "final_norm", &TensorName::part), own.begin(), own.end());
  return names;
}

// --- config.json -----------------------------------------------------------------------------------------------------

bool is_sound_factor(double factor) { return factor > 1e-9 && factor < 1e9; }

float read_factor(const HuggingFaceFields& fields, const char* key) {
  const double factor = fields.number(key, 1);
  if (!is_sound_factor(factor)) fields.wrong(key, "positive", factor);
  return static_cast<float>(factor);
}

void read_huggingface(const HuggingFaceFields& fields, ModelConfig& c) {
  if (c.num_experts == 0 && c.architecture == kSparse) fields.wrong("num_local_experts", "at least 1", 0);
  c.embedding_scale = read_factor(fields, "embedding_multiplier");
  c.residual_scale = read_factor(fields, "residual_multiplier");
  c.attention_scale = read_factor(fields, "attention_multiplier");
  c.logit_divisor = read_factor(fields, "logits_scaling");
}

// Granite 4's class, of models that neither recur nor are sparse.
void read_hybrid(const HuggingFaceFields& fields, ModelConfig& c) {
  if (c.layers > kMaxLayers) return;  // judged later
  if (!read_layer_types(fields, c.layers, "attention"))
    fields.unsupported("layers that recur cannot be run in this family; layer_types must be attention alone");
  if (fields.integer("num_local_experts", 8) != 0)
    fields.unsupported("experts of this class cannot be run; num_local_experts must be 0");
  const std::string kind = fields.string("position_embedding_type", "nope");
  if (kind != "rope" && kind != "nope") fields.wrong("position_embedding_type", "rope or nope", kind);
  if (kind == "nope") c.unturned.assign(c.layers, true);
}

void write_huggingface(const ModelConfig& c, nlohmann::ordered_json& json) {
  if (!c.unturned.empty())
    throw Error(ErrorKind::unsupported,
                "config.json of this family has no words for layers without positions; keep the model in a GGUF file");
  json["embedding_multiplier"] = shortest_decimal(c.embedding_scale);
  json["residual_multiplier"] = shortest_decimal(c.residual_scale);
  json["attention_multiplier"] = shortest_decimal(
      c.attention_scale != 0 ? c.attention_scale : static_cast<float>(1 / std::sqrt(static_cast<double>(c.head_dim))));
  json["logits_scaling"] = shortest_decimal(c.logit_divisor);
  if (c.num_experts == 0) return;
  json["num_local_experts"] = c.num_experts;
  json["num_experts_per_tok"] = c.experts_used;
  if (c.shared_intermediate == 0) return;
  json["architectures"] = {"GraniteMoeSharedForCausalLM"};
  json["model_type"] = "granitemoeshared";
  json["shared_intermediate_size"] = c.shared_intermediate;
}

// --- GGUF ------------------------------------------------------------------------------------------------------------

// 0 means there that nothing was said.
float read_factor(const GgufKeys& keys, std::string_view key, float neutral) {
  const double factor = keys.number(key).value_or(0);
  if (factor == 0) return neutral;
  if (!is_sound_factor(factor)) keys.wrong(key, fmt::format("must be positive: {}", factor));
  return static_cast<float>(factor);
}

void read_gguf(const GgufKeys& keys, ModelConfig& c) {
  if (c.num_experts == 0 && c.architecture == kSparse) keys.missing("expert_count");
  c.embedding_scale = read_factor(keys, "embedding_scale", 1);
  c.residual_scale = read_factor(keys, "residual_scale", 1);
  c.attention_scale = read_factor(keys, "attention.scale", 0);
  c.logit_divisor = read_factor(keys, "logit_scale", 1);
  if (c.num_experts != 0) c.shared_intermediate = read_shared_width(keys);  // else it is said of the MLP, too
  if (keys.flag_or_number("rope.scaling.finetuned").value_or(1) == 0 && c.layers <= kMaxLayers)
    c.unturned.assign(c.layers, true);
}

// llama.cpp takes rope.scaling.finetuned to say whether there are positions at all.
void write_gguf(const ModelConfig& c, const std::string& prefix, GgufMetadata& metadata) {
  require_no_biases(c);
  const auto factor = [&](std::string_view key, float value) {
    metadata.set(prefix + std::string(key), GgufValue::of_f32(value));
  };
  factor("embedding_scale", c.embedding_scale);
  factor("residual_scale", c.residual_scale);
  factor("attention.scale", c.attention_scale);
  factor("logit_scale", c.logit_divisor);
  write_shared_width(c, prefix, metadata);
  if (!c.unturned.empty()) metadata.set(prefix + "rope.scaling.finetuned", GgufValue::of_bool(false));
}

Architecture common_architecture(std::string_view name) {
  Architecture a;
  a.name = a.gguf_name = name;
  a.gguf_interleaved_rotary = true;
  a.gguf_own_keys = {"attention.scale", "embedding_scale", "residual_scale", "logit_scale",
                     "expert_shared_feed_forward_length"};
  a.draw_begin = draw_begin;
  a.draw_end = draw_end;
  a.read_huggingface = read_huggingface;
  a.read_gguf = read_gguf;
  a.write_huggingface = write_huggingface;
  a.write_gguf = write_gguf;
  return a;
}

}  // namespace

Architecture granite_architecture() {
  Architecture a = common_architecture("granite");
  a.title = "Granite 3, Granite 4 without experts";
  a.variants = {{.model_type = "granite", .class_name = "GraniteForCausalLM"},
                {.model_type = "granitemoehybrid",
                 .class_name = "GraniteMoeHybridForCausalLM",
                 .own_keys = {{"intermediate_size", "shared_intermediate_size"}},
                 .read_own = read_hybrid}};
  a.names = dense_names();
  a.draw_layer = draw_layer;
  return a;
}

Architecture granitemoe_architecture() {
  Architecture a = common_architecture(kSparse);
  a.title = "Granite 3 with experts";
  a.hf_stacks_experts = true;
  const HfVariant plain = {.model_type = "granitemoe",
                           .class_name = "GraniteMoeForCausalLM",
                           .default_experts = 8,
                           .default_experts_used = 2};
  HfVariant shared = plain;
  shared.model_type = "granitemoeshared";
  shared.class_name = "GraniteMoeSharedForCausalLM";
  shared.read_own = [](const HuggingFaceFields& fields, ModelConfig& c) {
    c.shared_intermediate = fields.integer("shared_intermediate_size", 0);
    if (c.shared_intermediate > kMostSharedWidth)
      fields.wrong("shared_intermediate_size", "a width that a model can have", c.shared_intermediate);
  };
  a.variants = {plain, shared};
  a.names = sparse_names();
  a.draw_layer = draw_layer;
  return a;
}

}  // namespace nibble
