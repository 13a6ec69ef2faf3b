// SPDX-License-Identifier: Apache-2.0
//
// Gemma 4, its text part (Google DeepMind 2026): norms before and behind attention and MLP, values that are normed,
// too, heads that are longer in layers that attend to all positions, of which positions turn a quarter there. The last
// layers of small models share keys and values of an earlier one, and each layer has an input of its own for every
// token; larger ones make values of what makes keys, or have experts beside the MLP. Norms hold what they multiply by.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "graph/drawing.h"
#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"
#include "model/arch/soft_cap_keys.h"
#include "nibble/error.h"

namespace nibble {
namespace {

// --- the network -----------------------------------------------------------------------------------------------------

constexpr std::string_view kOwnInput = "per_layer.{}";  // of the layer with this number

Value scaled_by_root(Drawing& d, Value x, std::uint64_t width) {
  return d.scale(x, std::sqrt(static_cast<float>(width)));
}

float inverse_root(std::uint64_t width) { return static_cast<float>(1 / std::sqrt(static_cast<double>(width))); }

// RMSNorm of every head without weights.
Value bare_norm_heads(Drawing& d, Value x, float epsilon, std::uint64_t length) {
  const Value unit = d.l2_norm_heads(x, epsilon * static_cast<float>(length), length);
  return scaled_by_root(d, unit, length);
}

Graph draw_begin(const ModelConfig& c) {
  Drawing d;
  const Value x = scaled_by_root(d, d.embedding("embedding", c.vocab_size, c.hidden), c.hidden);
  if (c.per_layer_width == 0) return std::move(d).finish({x});
  const std::uint64_t each = c.per_layer_width, all = c.layers * each;
  const Value told = scaled_by_root(d, d.embedding("per_layer_embedding", c.vocab_size, all), each);
  const Value seen = d.linear(x, "begin", {"per_layer_projection", all, false, TensorRole::exact});
  const Value normed = d.rms_norm_heads(d.scale(seen, inverse_root(c.hidden)), "per_layer_norm", c.norm_epsilon, each);
  const Value inputs = d.scale(d.add(normed, told), inverse_root(2));
  for (std::uint64_t i = 0; i < c.layers; ++i)
    d.pass_on(fmt::format(fmt::runtime(kOwnInput), i), d.slice(inputs, i * each, each));
  return std::move(d).finish({x});
}

// The last layer of its kind before those that share keys and values.
bool is_shared_by_later(const ModelConfig& c, std::int64_t layer) {
  std::int64_t last = static_cast<std::int64_t>(c.layers - c.sharing_layers) - 1;
  while (last > layer && c.is_sliding(last) != c.is_sliding(layer)) --last;
  return c.sharing_layers != 0 && last == layer;
}

Value draw_attention(Drawing& d, Value h, const ModelConfig& c, std::int64_t layer) {
  const std::uint64_t length = c.head_dim_of(layer), query = c.heads * length,
                      key_value = c.kv_heads_of(layer) * length;
  const float eps = c.norm_epsilon;
  const Rope rope = rope_of(c, layer);
  const std::string kind = c.is_sliding(layer) ? "sliding" : "full";
  const LinearSpec q_of{"q", query, c.attention_bias}, k_of{"k", key_value, c.attention_bias},
      v_of{"v", key_value, c.attention_bias};
  const auto attend = [&](Value q, Value k, Value v) {
    const Value turned = d.rope(d.rms_norm_heads(q, "q_norm", eps, length), rope);
    return d.linear(d.attention(turned, k, v, attention_of(c, layer)), "attention_out", {"o", c.hidden, c.output_bias});
  };
  if (c.is_sharing(layer)) {
    const Value k = d.receive(kind + ".keys", token_rows(key_value)),
                v = d.receive(kind + ".values", token_rows(key_value));
    return attend(d.linear(h, "attention_in", q_of), k, v);
  }
  const auto attend_own = [&](Value q, Value made_k, Value made_v) {
    const Value k = d.rope(d.rms_norm_heads(made_k, "k_norm", eps, length), rope);
    const Value v = bare_norm_heads(d, made_v, eps, length);
    if (is_shared_by_later(c, layer)) {
      d.pass_on(kind + ".keys", k);
      d.pass_on(kind + ".values", v);
    }
    return attend(q, k, v);
  };
  if (c.full_keys_are_values && !c.is_sliding(layer)) {
    const auto [q, k] = d.linears(h, "attention_in", {q_of, k_of});
    return attend_own(q, k, k);
  }
  const auto [q, k, v] = d.linears(h, "attention_in", {q_of, k_of, v_of});
  return attend_own(q, k, v);
}

Value draw_dense(Drawing& d, Value x, const ModelConfig& c, std::int64_t layer) {
  const std::uint64_t wide = c.intermediate_of(layer);
  const Value h = d.rms_norm(x, "mlp_norm", c.norm_epsilon);
  const auto [gate, up] = d.linears(h, "mlp_in", {{"gate", wide}, {"up", wide}});
  return d.linear(d.multiply(d.gelu(gate), up), "mlp_out", {"down", c.hidden});
}

// Beside the MLP, of which the router sees what it norms by itself.
Value draw_mixture(Drawing& d, Value x, const ModelConfig& c) {
  const Value seen = d.scale(d.rms_norm(x, "router_norm", c.norm_epsilon), inverse_root(c.hidden));
  const Value routing = d.route(d.linear(seen, "router_in", {"router", c.num_experts, false, TensorRole::router}),
                                {.used = c.experts_used, .normalizes = true, .scales = "expert_scales"});
  const Value h = d.rms_norm(x, "experts_norm", c.norm_epsilon);
  const Value gate = d.expert_linear(h, routing, "experts_in", "expert_gate", c.expert_intermediate);
  const Value up = d.expert_linear(h, routing, "experts_in", "expert_up", c.expert_intermediate);
  return d.mix_experts(d.expert_linear(d.multiply(d.gelu(gate), up), routing, "experts_out", "expert_down", c.hidden),
                       routing);
}

Graph draw_layer(const ModelConfig& c, std::int64_t layer) {
  const float eps = c.norm_epsilon;
  Drawing d;
  Value x = d.input(token_rows(c.hidden));
  const Value h = d.rms_norm(x, "attention_norm", eps);
  x = d.add(x, d.rms_norm(draw_attention(d, h, c, layer), "after_attention_norm", eps));
  Value made = draw_dense(d, x, c, layer);
  if (c.num_experts != 0)
    made =
        d.add(d.rms_norm(made, "after_dense_norm", eps), d.rms_norm(draw_mixture(d, x, c), "after_experts_norm", eps));
  x = d.add(x, d.rms_norm(made, "after_mlp_norm", eps));
  if (c.per_layer_width != 0) {
    const Value own = d.receive(std::string(kOwnInput), token_rows(c.per_layer_width));
    const Value gated = d.multiply(d.gelu(d.linear(x, "per_layer_in", {"per_layer_gate", c.per_layer_width})), own);
    x = d.add(x,
              d.rms_norm(d.linear(gated, "per_layer_out", {"per_layer_out", c.hidden}), "after_per_layer_norm", eps));
  }
  if (c.scales_layers) x = d.gain(x, "layer_scale");
  return std::move(d).finish({x});
}

std::vector<TensorName> tensor_names() {
  std::vector<TensorName> names = dense_decoder_names();
  const auto at = [&](std::string_view part) { return std::ranges::find(names, part, &TensorName::part); };
  for (const std::string_view part : {"gate.bias", "up.bias", "down.bias"}) names.erase(at(part));
  names.insert(names.begin() + 1,
               {{"per_layer_embedding", "model.embed_tokens_per_layer.weight", "per_layer_token_embd.weight"},
                {"per_layer_projection", "model.per_layer_model_projection.weight", "per_layer_model_proj.weight"},
                {"per_layer_norm", "model.per_layer_projection_norm.weight", "per_layer_proj_norm.weight"}});
  at("mlp_norm")->hf = "model.layers.{}.pre_feedforward_layernorm.weight";
  names.insert(at("mlp_norm"), {{"q_norm", "model.layers.{}.self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight"},
                                {"k_norm", "model.layers.{}.self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight"},
                                {"after_attention_norm", "model.layers.{}.post_attention_layernorm.weight",
                                 "blk.{}.post_attention_norm.weight"}});
  constexpr std::string_view kGateUp = "model.layers.{}.experts.gate_up_proj";
  TensorName gate{
      "expert_gate", "model.layers.{}.experts.{}.gate_proj.weight", "blk.{}.ffn_gate_exps.weight", 0, kGateUp, 0, 2},
      up{"expert_up", "model.layers.{}.experts.{}.up_proj.weight", "blk.{}.ffn_up_exps.weight", 0, kGateUp, 1, 2};
  gate.gguf_joint = up.gguf_joint = kGgufGateUpStack;
  const std::vector<TensorName> behind = {
      {"after_dense_norm", "model.layers.{}.post_feedforward_layernorm_1.weight", "blk.{}.post_ffw_norm_1.weight"},
      {"router_norm", "model.layers.{}.router.scale", "blk.{}.ffn_gate_inp.scale"},
      {"router", "model.layers.{}.router.proj.weight", "blk.{}.ffn_gate_inp.weight"},
      {"expert_scales", "model.layers.{}.router.per_expert_scale", "blk.{}.ffn_down_exps.scale"},
      {"experts_norm", "model.layers.{}.pre_feedforward_layernorm_2.weight", "blk.{}.pre_ffw_norm_2.weight"},
      gate,
      up,
      {"expert_down", "model.layers.{}.experts.{}.down_proj.weight", "blk.{}.ffn_down_exps.weight", 0,
       "model.layers.{}.experts.down_proj"},
      {"after_experts_norm", "model.layers.{}.post_feedforward_layernorm_2.weight", "blk.{}.post_ffw_norm_2.weight"},
      {"after_mlp_norm", "model.layers.{}.post_feedforward_layernorm.weight", "blk.{}.post_ffw_norm.weight"},
      {"per_layer_gate", "model.layers.{}.per_layer_input_gate.weight", "blk.{}.inp_gate.weight"},
      {"per_layer_out", "model.layers.{}.per_layer_projection.weight", "blk.{}.proj.weight"},
      {"after_per_layer_norm", "model.layers.{}.post_per_layer_input_norm.weight", "blk.{}.post_norm.weight"},
      {"layer_scale", "model.layers.{}.layer_scalar", "blk.{}.layer_output_scale.weight"}};
  names.insert(at("final_norm"), behind.begin(), behind.end());
  return names;
}

// --- what both containers say ----------------------------------------------------------------------------------------

// One way of saying it, whichever keys said it.
void settle(ModelConfig& c) {
  if (c.full_head_dim == 0) c.full_head_dim = c.head_dim;
  if (std::ranges::find(c.slides, true) == c.slides.end()) {
    c.head_dim = c.full_head_dim;
    c.kv_heads = c.full_kv_heads != 0 ? c.full_kv_heads : c.kv_heads;
    if (c.sliding_rope) c.sliding_rope->rotary_dim = c.head_dim;
  }
  if (c.full_kv_heads == c.kv_heads) c.full_kv_heads = 0;
  if (c.sharing_intermediate == c.intermediate) c.sharing_intermediate = 0;
  if (c.rope.frequency_divisors.empty() && c.rope.scaling == RopeScaling::none) {
    c.rope.scaling = RopeScaling::proportional;
    c.rope.frequency_divisors = proportional_divisors(c.rope.rotary_dim, c.rope.rotary_dim / 2);
  }
  c.query_pre_attn_scalar = 1;
}

// llama.cpp lets layers share with one of the two before them: the last if it attends to all, else the one before.
bool shares_as_llama_cpp(const ModelConfig& c) {
  const auto first = static_cast<std::int64_t>(c.layers - c.sharing_layers);
  if (c.sharing_layers == 0) return true;
  if (first < 2) return false;
  for (std::int64_t i = first; i < static_cast<std::int64_t>(c.layers); ++i)
    if (!is_shared_by_later(c, first - (c.is_sliding(i) ? 2 : 1)) ||
        c.is_sliding(first - (c.is_sliding(i) ? 2 : 1)) != c.is_sliding(i))
      return false;
  return true;
}

// --- config.json -----------------------------------------------------------------------------------------------------

void read_huggingface(const HuggingFaceFields& fields, ModelConfig& c) {
  // "vision": of pictures alone.
  if (const std::string given = fields.string("use_bidirectional_attention", "vision"); given != "vision")
    fields.unsupported("tokens that attend to later ones cannot be run; use_bidirectional_attention: " + given);
  c.logit_soft_cap = read_soft_cap(fields, "final_logit_softcapping", 0);
  c.scales_layers = true;
  if (fields.boolean("enable_moe_block", false)) {
    c.num_experts = fields.required_integer("num_experts");
    c.experts_used = fields.required_integer("top_k_experts");
    c.expert_intermediate = fields.required_integer("moe_intermediate_size");
    if (c.num_experts == 0) fields.wrong("num_experts", "at least 1", 0);
  }
  if (c.sliding_rope && c.sliding_rope->scaling != RopeScaling::none)
    fields.unsupported("positions of layers that slide must be of rope_type default");
  settle(c);
}

nlohmann::ordered_json rope_words(const RopeConfig& rope) {
  nlohmann::ordered_json words = {{"rope_type", "default"},
                                  {"rope_theta", shortest_decimal(static_cast<float>(rope.base))}};
  if (rope.scaling == RopeScaling::none) return words;
  double factor = 1;
  const auto turning = turning_pairs(rope.frequency_divisors, factor);
  if (rope.scaling != RopeScaling::proportional || !turning)
    throw Error(ErrorKind::unsupported,
                fmt::format("config.json has no words for the divisors in {}; keep the model in a GGUF file",
                            kRopeDivisorsName));
  words["rope_type"] = "proportional";
  words["partial_rotary_factor"] = 2 * static_cast<double>(*turning) / static_cast<double>(rope.rotary_dim);
  if (factor != 1) words["factor"] = factor;
  return words;
}

void write_huggingface(const ModelConfig& c, nlohmann::ordered_json& json) {
  if (!c.scales_layers)
    throw Error(ErrorKind::unsupported,
                "directories of this family have a number for every layer that this file does not have, "
                "layer_scalar; keep the model in a GGUF file");
  if (c.sharing_intermediate != 0 && c.sharing_intermediate != 2 * c.intermediate)
    throw Error(ErrorKind::unsupported,
                fmt::format("config.json can only say that the MLPs of layers that share keys and values are twice as "
                            "wide; keep the model in a GGUF file: {}, {}",
                            c.sharing_intermediate, c.intermediate));
  json["hidden_act"] = json["hidden_activation"] = "gelu_pytorch_tanh";
  write_soft_cap(json, "final_logit_softcapping", c.logit_soft_cap);
  json["attention_k_eq_v"] = c.full_keys_are_values;
  if (c.full_kv_heads == 0 || c.full_keys_are_values) {
    json["global_head_dim"] = c.full_head_dim;
    json["num_global_key_value_heads"] = nullptr;
    if (c.full_kv_heads != 0) json["num_global_key_value_heads"] = c.full_kv_heads;
  } else {
    for (std::uint64_t i = 0; i < c.layers; ++i)
      if (!c.is_sliding(static_cast<std::int64_t>(i)))
        json["per_layer_config"][std::to_string(i)] = {{"head_dim", c.full_head_dim},
                                                       {"num_key_value_heads", c.full_kv_heads}};
  }
  json["num_kv_shared_layers"] = c.sharing_layers;
  json["use_double_wide_mlp"] = c.sharing_intermediate != 0;
  json["hidden_size_per_layer_input"] = c.per_layer_width;
  json["vocab_size_per_layer_input"] = c.vocab_size;
  json["layer_types"] = nlohmann::ordered_json::array();
  for (std::uint64_t i = 0; i < c.layers; ++i)
    json["layer_types"].push_back(c.is_sliding(static_cast<std::int64_t>(i)) ? "sliding_attention" : "full_attention");
  if (json["layer_types"].back() != "full_attention")
    throw Error(ErrorKind::unsupported,
                "the last layer of this family's directories attends to all positions; keep the model in a GGUF file");
  json["enable_moe_block"] = c.num_experts != 0;
  if (c.num_experts != 0) {
    json["num_experts"] = c.num_experts;
    json["top_k_experts"] = c.experts_used;
    json["moe_intermediate_size"] = c.expert_intermediate;
  }
  for (const char* const key : {"rope_scaling", "rope_theta", "partial_rotary_factor", "mlp_bias"}) json.erase(key);
  json["rope_parameters"] = {{"full_attention", rope_words(c.rope)},
                             {"sliding_attention", rope_words(c.sliding_rope.value_or(RopeConfig{}))}};
}

// --- GGUF ------------------------------------------------------------------------------------------------------------

// The one count of all layers that are asked for; 0: there are none.
std::uint64_t common_count(const GgufKeys& keys, std::string_view key, const std::vector<std::uint64_t>& counts,
                           const std::vector<bool>& asked) {
  std::uint64_t common = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (!asked[i]) continue;
    if (common != 0 && counts[i] != common)
      keys.unsupported(fmt::format("layers of one kind that differ in {} cannot be run", keys.full(key)));
    common = counts[i];
  }
  return common;
}

void read_heads(const GgufKeys& keys, ModelConfig& c) {
  c.full_head_dim = c.head_dim;
  c.head_dim = keys.integer("attention.key_length_swa").value_or(c.head_dim);
  if (keys.integer("attention.value_length_swa").value_or(c.head_dim) != c.head_dim)
    keys.unsupported("values of another length than keys cannot be run; " + keys.full("attention.value_length_swa"));
  constexpr std::string_view kTurned = "rope.dimension_count_swa", kHeads = "attention.head_count_kv";
  if (const auto turned = keys.integer(kTurned).value_or(c.head_dim); turned != c.head_dim)
    keys.unsupported(
        fmt::format("rotary positions on part of a head cannot be run; {}: {}", keys.full(kTurned), turned));
  if (c.sliding_rope) c.sliding_rope->rotary_dim = c.head_dim;
  std::vector<bool> slides(c.layers), attends(c.layers);
  for (std::uint64_t i = 0; i < c.layers; ++i) {
    slides[i] = c.is_sliding(static_cast<std::int64_t>(i));
    attends[i] = !slides[i];
    if (attends[i] && i + c.sharing_layers < c.layers)
      c.full_keys_are_values = !keys.has_tensor(fmt::format("blk.{}.attn_v.weight", i)) &&
                               !keys.has_tensor(fmt::format("blk.{}.attn_qkv.weight", i));
  }
  const auto heads = keys.layer_integers(kHeads, c.layers);
  if (!heads) return;
  const std::uint64_t sliding = common_count(keys, kHeads, *heads, slides),
                      full = common_count(keys, kHeads, *heads, attends);
  c.kv_heads = sliding != 0 ? sliding : full;
  c.full_kv_heads = full;
}

void read_gguf(const GgufKeys& keys, ModelConfig& c) {
  if (c.layers == 0 || c.layers > kMaxLayers) return;
  if (!keys.layer_flags("attention.sliding_window_pattern", c.layers)) keys.missing("attention.sliding_window_pattern");
  c.sharing_layers = keys.integer("attention.shared_kv_layers").value_or(0);
  if (c.sharing_layers >= c.layers)
    keys.wrong("attention.shared_kv_layers", fmt::format("must be less than block_count: {}", c.sharing_layers));
  read_heads(keys, c);
  constexpr std::string_view kWidth = "feed_forward_length";
  if (const auto widths = keys.layer_integers(kWidth, c.layers)) {
    std::vector<bool> shares(c.layers), keeps(c.layers);
    for (std::uint64_t i = 0; i < c.layers; ++i) {
      shares[i] = c.is_sharing(static_cast<std::int64_t>(i));
      keeps[i] = !shares[i];
    }
    c.intermediate = common_count(keys, kWidth, *widths, keeps);
    c.sharing_intermediate = common_count(keys, kWidth, *widths, shares);
  }
  if (!shares_as_llama_cpp(c))
    keys.unsupported(
        fmt::format("layers can share keys and values with the two before them only, the last of which "
                    "attends to all positions; {}: {}",
                    keys.full("attention.shared_kv_layers"), c.sharing_layers));
  c.per_layer_width = keys.integer("embedding_length_per_layer_input").value_or(0);
  c.scales_layers = keys.has_tensor("blk.0.layer_output_scale.weight");
  // llama.cpp's own number where the key is absent; 0 turns it off.
  constexpr std::string_view kCap = "final_logit_softcapping";
  c.logit_soft_cap = keys.number(kCap) == 0.0 ? 0 : read_soft_cap(keys, kCap, 30);
  if (c.rope.scaling != RopeScaling::none)
    keys.unsupported("scaled rotary positions cannot be run in this family; " + keys.full("rope.scaling.type"));
  if (double factor = 1; !c.rope.frequency_divisors.empty() && turning_pairs(c.rope.frequency_divisors, factor))
    c.rope.scaling = RopeScaling::proportional;
  settle(c);
}

void write_gguf(const ModelConfig& c, const std::string& prefix, GgufMetadata& metadata) {
  const auto refuse = [](const std::string& what) {
    throw Error(ErrorKind::unsupported, what + "; write a directory instead");
  };
  if (c.attention_bias || c.output_bias) refuse("llama.cpp reads no biases of attention in files of this family");
  if (!shares_as_llama_cpp(c))
    refuse(
        "llama.cpp lets layers share keys and values with the two before them only, the last of which attends to all "
        "positions");
  const auto set = [&](const char* key, std::uint64_t value) {
    metadata.set(prefix + key, GgufValue::of_u32(static_cast<std::uint32_t>(value)));
  };
  std::vector<bool> slides(c.layers);
  std::vector<std::int32_t> widths, heads;
  for (std::uint64_t i = 0; i < c.layers; ++i) {
    const auto layer = static_cast<std::int64_t>(i);
    slides[i] = c.is_sliding(layer);
    widths.push_back(static_cast<std::int32_t>(c.intermediate_of(layer)));
    heads.push_back(static_cast<std::int32_t>(c.kv_heads_of(layer)));
  }
  metadata.set(prefix + "attention.sliding_window_pattern", GgufValue::of_bools(slides));
  if (c.sharing_intermediate != 0) metadata.set(prefix + "feed_forward_length", GgufValue::of_i32s(widths));
  if (c.full_kv_heads != 0) metadata.set(prefix + "attention.head_count_kv", GgufValue::of_i32s(heads));
  set("attention.key_length", c.full_head_dim);
  set("attention.value_length", c.full_head_dim);
  set("attention.key_length_swa", c.head_dim);
  set("attention.value_length_swa", c.head_dim);
  set("attention.shared_kv_layers", c.sharing_layers);
  set("embedding_length_per_layer_input", c.per_layer_width);
  set("rope.dimension_count_swa", c.head_dim);
  if (c.sliding_rope)
    metadata.set(prefix + "rope.freq_base_swa", GgufValue::of_f32(static_cast<float>(c.sliding_rope->base)));
  metadata.set(prefix + "final_logit_softcapping", GgufValue::of_f32(c.logit_soft_cap));
}

}  // namespace

Architecture gemma4_architecture() {
  Architecture a;
  a.title = "Gemma 4";
  a.name = a.gguf_name = "gemma4";
  a.activation_key = "hidden_activation";
  a.activation = "gelu_pytorch_tanh";
  a.llama_cpp_slides = a.gguf_expert_width = a.gguf_lists_layers = a.hf_stacks_experts = true;
  a.gguf_default_window = 512;
  a.gguf_local_rope_base = 1e4;
  a.gguf_own_keys = {"attention.shared_kv_layers", "embedding_length_per_layer_input"};
  const HfVariant text = {.model_type = "gemma4_text",
                          .class_name = "Gemma4ForCausalLM",
                          .wrapper_type = "gemma4",
                          .wrapper_class = "Gemma4ForConditionalGeneration",
                          .default_vocab = 262144,
                          .default_hidden = 2304,
                          .default_intermediate = 9216,
                          .default_layers = 30,
                          .default_heads = 8,
                          .default_kv_heads = 4,
                          .default_head_dim = 256,
                          .default_context = 131072,
                          .default_sliding_window = 512,
                          .default_full_every = 6,
                          .default_rope_base = 1e6,
                          .default_local_rope_base = 1e4,
                          .default_tied = true,
                          .default_full_head_dim = 512,
                          .default_proportional_part = 0.25,
                          .last_attends_to_all = true,
                          .default_per_layer_width = 256};
  HfVariant unified = text;
  unified.model_type = "gemma4_unified_text";
  unified.class_name = "Gemma4UnifiedForCausalLM";
  unified.wrapper_type = "gemma4_unified";
  unified.wrapper_class = "Gemma4UnifiedForConditionalGeneration";
  unified.default_context = 262144;
  unified.default_sliding_window = 1024;
  unified.default_per_layer_width = 0;
  a.variants = {text, unified};
  a.names = tensor_names();
  a.draw_begin = draw_begin;
  a.draw_layer = draw_layer;
  a.draw_end = draw_head;
  a.read_huggingface = read_huggingface;
  a.read_gguf = read_gguf;
  a.write_huggingface = write_huggingface;
  a.write_gguf = write_gguf;
  return a;
}

}  // namespace nibble
