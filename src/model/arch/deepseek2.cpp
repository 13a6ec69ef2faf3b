// SPDX-License-Identifier: Apache-2.0
//
// DeepSeek-V2 and V3 (DeepSeek-AI 2024) and those that follow them, GLM-4.7-Flash and Kimi-K2: keys and values are made
// of a latent vector that all heads share (multi-head latent attention), positions turn channels beside these, and
// behind the first layers experts take the place of the MLP, some of which every token sees. Norms within attention
// have an epsilon of their own.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
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

constexpr float kLatentEpsilon = 1e-6F;  // of the norms of latent vectors, whatever the configuration says
constexpr std::uint64_t kMostLatent = 1 << 13, kMostHeadDim = 1 << 10;

// --- the network -----------------------------------------------------------------------------------------------------

std::pair<Value, Value> draw_queries_and_latent(Drawing& d, Value h, const ModelConfig& c) {
  const std::uint64_t queries = c.heads * (c.plain_key_dim + c.head_dim), kept = c.latent + c.head_dim;
  if (c.query_latent == 0) {
    const auto [q, kv] = d.linears(h, "attention_in", {{"q", queries}, {"kv_a", kept}});
    return {q, kv};
  }
  const auto [a, kv] = d.linears(h, "attention_in", {{"q_a", c.query_latent}, {"kv_a", kept}});
  return {d.linear(d.rms_norm(a, "q_a_norm", kLatentEpsilon), "queries_in", {"q_b", queries}), kv};
}

Value draw_attention(Drawing& d, Value h, const ModelConfig& c, std::int64_t layer) {
  const std::uint64_t turns = c.head_dim, length = c.plain_key_dim + turns;
  const Rope rope = rope_of(c, layer);
  const auto [q, kept] = draw_queries_and_latent(d, h, c);
  const Value plain = d.slice_heads(q, length, 0, c.plain_key_dim),
              turned = d.rope(d.slice_heads(q, length, c.plain_key_dim, turns), rope);
  const Value latent = d.rms_norm(d.slice(kept, 0, c.latent), "kv_a_norm", kLatentEpsilon),
              turned_keys = d.rope(d.slice(kept, c.latent, turns), rope);
  const Value keys_values = d.linear(latent, "latent_in", {"kv_b", c.heads * (c.plain_key_dim + c.value_dim)});
  const double scale = c.score_factor / std::sqrt(static_cast<double>(length));
  const Value mixed =
      d.latent_attention({plain, turned, keys_values, turned_keys}, {.heads = c.heads,
                                                                     .key_dim = c.plain_key_dim,
                                                                     .rotary_dim = turns,
                                                                     .value_dim = c.value_dim,
                                                                     .latent = c.latent,
                                                                     .scale = static_cast<float>(scale)});
  return d.linear(mixed, "attention_out", {"o", c.hidden});
}

Graph draw_layer(const ModelConfig& c, std::int64_t layer) {
  Drawing d;
  Value x = d.input(token_rows(c.hidden));
  x = d.add(x, draw_attention(d, d.rms_norm(x, "attention_norm", c.norm_epsilon), c, layer));
  x = d.add(x, draw_deepseek_mixture(d, d.rms_norm(x, "mlp_norm", c.norm_epsilon), c, layer));
  return std::move(d).finish({x});
}

std::vector<TensorName> tensor_names() {
  std::vector<TensorName> names = dense_decoder_names();
  const auto at = [&](std::string_view part) { return std::ranges::find(names, part, &TensorName::part); };
  for (const std::string_view part :
       {"k", "v", "q.bias", "k.bias", "v.bias", "o.bias", "gate.bias", "up.bias", "down.bias"})
    names.erase(at(part));
  at("q")->gguf_joint = {};
  names.insert(at("o"),
               {{"q_a", "model.layers.{}.self_attn.q_a_proj.weight", "blk.{}.attn_q_a.weight"},
                {"q_a_norm", "model.layers.{}.self_attn.q_a_layernorm.weight", "blk.{}.attn_q_a_norm.weight"},
                {"q_b", "model.layers.{}.self_attn.q_b_proj.weight", "blk.{}.attn_q_b.weight"},
                {"kv_a", "model.layers.{}.self_attn.kv_a_proj_with_mqa.weight", "blk.{}.attn_kv_a_mqa.weight"},
                {"kv_a_norm", "model.layers.{}.self_attn.kv_a_layernorm.weight", "blk.{}.attn_kv_a_norm.weight"},
                {"kv_b", "model.layers.{}.self_attn.kv_b_proj.weight", "blk.{}.attn_kv_b.weight"}});
  at("kv_b")->gguf_keys = "blk.{}.attn_k_b.weight";
  at("kv_b")->gguf_values = "blk.{}.attn_v_b.weight";
  const std::vector<TensorName> mixture = deepseek_mixture_names();
  names.insert(at("final_norm"), mixture.begin(), mixture.end());
  return names;
}

// --- what both containers say ----------------------------------------------------------------------------------------

// What keeps a network with these numbers from being drawn; empty: nothing.
std::string defect_of(const ModelConfig& c) {
  const auto is_count = [](std::uint64_t value, std::uint64_t most) { return value >= 1 && value <= most; };
  if (!is_count(c.latent, kMostLatent) || c.query_latent > kMostLatent)
    return fmt::format("latent vectors must have 1 to {} numbers: {}, of queries {}", kMostLatent, c.latent,
                       c.query_latent);
  if (!is_count(c.plain_key_dim, kMostHeadDim) || !is_count(c.value_dim, kMostHeadDim) ||
      !is_count(c.head_dim, kMostHeadDim) || c.head_dim % 2 != 0)
    return fmt::format(
        "heads must have 1 to {} channels that stand still, as many that turn, in pairs, and as many of values: {}, "
        "{}, "
        "{}",
        kMostHeadDim, c.plain_key_dim, c.head_dim, c.value_dim);
  return {};
}

// Keys of all heads, whatever the file calls them.
void settle(ModelConfig& c) {
  c.kv_heads = c.heads;
  c.rope.rotary_dim = c.head_dim;
}

// mscale_all_dim, of positions that are scaled by yarn.
double score_scale(const ModelConfig& c) {
  return (std::sqrt(c.score_factor) - 1) / (yarn_magnitude(c.rope.factor) - 1);
}

// --- config.json -----------------------------------------------------------------------------------------------------

// What scores are multiplied by for yarn's sake, whose positions say it themselves elsewhere.
void read_score_factor(const HuggingFaceFields& fields, ModelConfig& c) {
  const char* const group = fields.find("rope_parameters") != nullptr ? "rope_parameters" : "rope_scaling";
  if (fields.find(group) == nullptr) return;
  const double scale = fields.object(group).number("mscale_all_dim", 0);
  if (scale == 0 || c.rope.scaling == RopeScaling::none) return;
  if (c.rope.scaling != RopeScaling::yarn)
    fields.unsupported(
        fmt::format("scores can be scaled where rope_type is yarn; {}.mscale_all_dim: {}", group, scale));
  const double magnitude = yarn_magnitude(c.rope.factor, scale);
  if (!(magnitude > 1e-3 && magnitude < 1e3)) fields.object(group).wrong("mscale_all_dim", "a small number", scale);
  c.score_factor = magnitude * magnitude;
}

void read_attention(const HuggingFaceFields& fields, ModelConfig& c) {
  if (c.attention_bias) fields.unsupported("biases of attention cannot be run in this family; attention_bias");
  if (c.mlp_bias) fields.unsupported("biases of MLPs cannot be run in this family; mlp_bias");
  const bool is_lite = fields.string("model_type", "") == "glm4_moe_lite";
  c.query_latent = fields.has_null("q_lora_rank") ? 0 : fields.integer("q_lora_rank", is_lite ? 768 : 1536);
  c.latent = fields.integer("kv_lora_rank", 512);
  c.plain_key_dim = fields.integer("qk_nope_head_dim", is_lite ? 192 : 128);
  c.head_dim = fields.integer("qk_rope_head_dim", 64);
  c.value_dim = fields.integer("v_head_dim", is_lite ? 256 : 128);
  c.rope.half_split = !fields.boolean("rope_interleave", true);
  settle(c);
  read_score_factor(fields, c);
  if (const std::string defect = defect_of(c); !defect.empty()) fields.contradicts(defect);
  read_guessing_layers(fields, c);
}

// DeepSeek-V2's class.
void read_softmax_routing(const HuggingFaceFields& fields, ModelConfig& c) {
  if (const std::string given = fields.string("scoring_func", "softmax"); given != "softmax")
    fields.unsupported("scoring_func must be softmax: " + given);
  refuse_layers_in_turn(fields);
  if (fields.boolean("norm_topk_prob", false))
    fields.unsupported("whether experts' weights are made to sum to 1, readers do not agree on; norm_topk_prob true");
  const std::string method = fields.string("topk_method", "greedy");
  if (method != "greedy" && method != "group_limited_greedy")
    fields.unsupported("topk_method can be greedy or group_limited_greedy: " + method);
  c.normalizes_routing = false;
  read_routing_factor(fields, 1, c);
  read_shared_experts(fields, 2, c);
  set_leading_dense(c, fields.integer("first_k_dense_replace", 0));
  if (method == "greedy") return;
  c.groups_count_two = false;
  read_expert_groups(fields, 1, 1, c);
  c.groups_count_two = c.expert_groups == 1;  // where it makes no difference, as files say nothing of it
}

// Where mlp_layer_types are absent the first layer alone is dense, whatever first_k_dense_replace says.
void read_glm_routing(const HuggingFaceFields& fields, ModelConfig& c) {
  read_sigmoid_routing(fields, {.factor = 1.8}, c);
  if (fields.find("mlp_layer_types") == nullptr) return set_leading_dense(c, 1);
  if (c.layers > kMaxLayers) return;
  const auto& types = *fields.find("mlp_layer_types");
  if (!types.is_array() || types.size() != c.layers)
    fields.wrong("mlp_layer_types", fmt::format("a list of {} words", c.layers).c_str(), types);
  c.dense.assign(c.layers, false);
  for (std::size_t i = 0; i < types.size(); ++i) {
    if (types[i] != "dense" && types[i] != "sparse") fields.wrong("mlp_layer_types", "dense or sparse", types[i]);
    c.dense[i] = types[i] == "dense";
  }
}

void read_huggingface(const HuggingFaceFields& fields, ModelConfig& c) {
  read_attention(fields, c);
  const std::string type = fields.string("model_type", "");
  if (type == "deepseek_v2") return read_softmax_routing(fields, c);
  if (type == "glm4_moe_lite") return read_glm_routing(fields, c);
  // Of a configuration that says nothing the class's groups say nothing, either.
  RoutingDefaults usual{.dense_layers = 3, .groups = 8, .groups_used = 4, .factor = 2.5};
  if (type.empty()) usual = {.factor = 2.5};
  read_sigmoid_routing(fields, usual, c);
}

void write_huggingface(const ModelConfig& c, nlohmann::ordered_json& json) {
  for (const char* const key : {"head_dim", "partial_rotary_factor", "mlp_bias"}) json.erase(key);
  if (!c.routes_by_sigmoid && (c.normalizes_routing || c.corrects_routing))
    throw Error(ErrorKind::unsupported,
                "config.json has no words for experts that are scored by softmax and corrected or made to sum to 1; "
                "keep the model in a GGUF file");
  if (c.routes_by_sigmoid && !c.corrects_routing)
    throw Error(ErrorKind::unsupported,
                "directories of this family have corrections of the routers, which this file does not have; keep the "
                "model in a GGUF file");
  write_sigmoid_routing(c, json);
  json["model_type"] = c.routes_by_sigmoid ? "deepseek_v3" : "deepseek_v2";
  json["architectures"] = {c.routes_by_sigmoid ? "DeepseekV3ForCausalLM" : "DeepseekV2ForCausalLM"};
  json["scoring_func"] = c.routes_by_sigmoid ? "sigmoid" : "softmax";
  json["topk_method"] = c.routes_by_sigmoid ? "noaux_tc" : c.expert_groups > 1 ? "group_limited_greedy" : "greedy";
  json["q_lora_rank"] = nullptr;
  if (c.query_latent != 0) json["q_lora_rank"] = c.query_latent;
  json["kv_lora_rank"] = c.latent;
  json["qk_nope_head_dim"] = c.plain_key_dim;
  json["qk_rope_head_dim"] = c.head_dim;
  json["v_head_dim"] = c.value_dim;
  json["num_nextn_predict_layers"] = 0;
  if (c.rope.half_split) json["rope_interleave"] = false;
  if (c.rope.scaling != RopeScaling::yarn) return;
  nlohmann::ordered_json& words = json["rope_scaling"];
  words["attention_factor"] = shortest_decimal(c.rope.magnitude);
  if (c.score_factor == 1) return;
  words["mscale_all_dim"] = shortest_decimal(static_cast<float>(score_scale(c)));
  if (c.rope.magnitude != 1) return;
  words.erase("attention_factor");
  words["mscale"] = words["mscale_all_dim"];
}

// --- GGUF ------------------------------------------------------------------------------------------------------------

constexpr std::string_view kLogMultiplier = "rope.scaling.yarn_log_multiplier";
constexpr double kLogStep = 0.1;  // by which files hold yarn's logarithm's factor

// llama.cpp multiplies scores by the square of what it multiplies positions by, times what the logarithm's factor says.
void read_yarn(const GgufKeys& keys, ModelConfig& c) {
  if (c.rope.scaling != RopeScaling::yarn) return;
  if (keys.number("rope.scaling.attn_factor").value_or(1) != 1)
    keys.unsupported(keys.full("rope.scaling.attn_factor") + " other than 1 cannot be run in this family");
  const double scale = shortest_decimal(static_cast<float>(keys.number(kLogMultiplier).value_or(0))) / kLogStep;
  c.rope.magnitude = scale == 0 ? static_cast<float>(yarn_magnitude(c.rope.factor)) : 1;
  const double root = static_cast<double>(c.rope.magnitude) * yarn_magnitude(c.rope.factor, scale);
  c.score_factor = root * root;
}

void read_gguf(const GgufKeys& keys, ModelConfig& c) {
  const std::uint64_t all_layers = c.layers;
  leave_guessing_layers(keys, c);
  c.latent = keys.required_integer("attention.kv_lora_rank");
  c.query_latent = keys.has_tensor("blk.0.attn_q.weight") ? 0 : keys.required_integer("attention.q_lora_rank");
  c.head_dim = keys.required_integer("rope.dimension_count");
  const auto keys_of_head = keys.integer("attention.key_length_mla"),
             values = keys.integer("attention.value_length_mla");
  const std::uint64_t length = keys_of_head ? *keys_of_head : keys.required_integer("attention.key_length");
  c.value_dim = values ? *values : keys.required_integer("attention.value_length");
  c.plain_key_dim = length > c.head_dim ? length - c.head_dim : 0;
  c.rope.half_split = false;
  settle(c);
  read_yarn(keys, c);
  if (const std::string defect = defect_of(c); !defect.empty()) keys.contradicts(defect);
  // GLM-4.7-Flash's early files do not say how its experts are scored.
  const bool is_glm = all_layers >= 47 && all_layers <= 48 && c.vocab_size == 154880;
  read_gguf_routing(keys, is_glm ? kSigmoidFunction : kSoftmaxFunction, c);
}

// llama.cpp knows models whose queries have no latent vector by their size.
bool is_lite_by_size(const ModelConfig& c) {
  return c.layers == 26 || c.layers == 27 || (c.layers == 48 && c.vocab_size == 128256);
}

void write_gguf(const ModelConfig& c, const std::string& prefix, GgufMetadata& metadata) {
  const auto refuse = [](const std::string& what) {
    throw Error(ErrorKind::unsupported, what + "; write a directory instead");
  };
  if (c.rope.half_split) refuse("llama.cpp turns neighbouring channels in this family: rope_interleave false");
  const auto count = [&](const char* key, std::uint64_t value) {
    metadata.set(prefix + key, GgufValue::of_u32(static_cast<std::uint32_t>(value)));
  };
  if (c.query_latent != 0 && is_lite_by_size(c))
    refuse(
        fmt::format("llama.cpp reads no latent vector of queries in a model of {} layers with {} tokens: "
                    "q_lora_rank {}",
                    c.layers, c.vocab_size, c.query_latent));
  write_gguf_routing(c, prefix, metadata);
  count("attention.kv_lora_rank", c.latent);
  count("attention.q_lora_rank", c.query_latent);  // required of most numbers of layers; 0: there is none
  count("attention.key_length", c.plain_key_dim + c.head_dim);
  count("attention.value_length", c.value_dim);
  if (c.rope.scaling != RopeScaling::yarn) return;
  if (c.rope.magnitude != 1 || c.score_factor == 1)
    refuse(
        fmt::format("llama.cpp can only run yarn in this family whose mscale and mscale_all_dim are the same; "
                    "positions are multiplied by {}, scores by {}",
                    c.rope.magnitude, c.score_factor));
  metadata.erase(prefix + "rope.scaling.attn_factor");
  metadata.set(prefix + std::string(kLogMultiplier), GgufValue::of_f32(static_cast<float>(kLogStep * score_scale(c))));
}

}  // namespace

Architecture deepseek2_architecture() {
  Architecture a;
  a.title = "DeepSeek V2, V3 and R1, GLM-4.7-Flash, Kimi K2";
  a.name = a.gguf_name = "deepseek2";
  a.gguf_expert_width = a.has_latent = true;
  a.gguf_own_keys.assign(std::begin(kGgufRoutingKeys), std::end(kGgufRoutingKeys));
  const HfVariant v3 = {.model_type = "deepseek_v3",
                        .class_name = "DeepseekV3ForCausalLM",
                        .default_context = 4096,
                        .default_experts = 256,
                        .default_experts_used = 8,
                        .default_expert_intermediate = 2048,
                        .has_routing_keys = false};
  HfVariant v2 = v3, kimi = v3, glm = v3;
  v2.model_type = "deepseek_v2";
  v2.class_name = "DeepseekV2ForCausalLM";
  v2.default_context = 2048;
  v2.default_experts = 64;
  v2.default_experts_used = 6;
  v2.default_expert_intermediate = 1407;
  kimi.model_type = "kimi_k2";
  glm.model_type = "glm4_moe_lite";
  glm.class_name = "Glm4MoeLiteForCausalLM";
  glm.default_context = 202752;
  glm.default_norm_epsilon = 1e-5;
  glm.default_experts = 64;
  glm.default_experts_used = 4;
  glm.default_expert_intermediate = 1536;
  a.variants = {v3, v2, glm, kimi};
  a.names = tensor_names();
  a.draw_begin = draw_embedding;
  a.draw_layer = draw_layer;
  a.draw_end = draw_head;
  a.read_huggingface = read_huggingface;
  a.read_gguf = read_gguf;
  a.write_huggingface = write_huggingface;
  a.write_gguf = write_gguf;
  return a;
}

}  // namespace nibble
