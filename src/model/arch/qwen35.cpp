// SPDX-License-Identifier: Apache-2.0
//
// Qwen 3.5 and 3.6: three of four layers have a gated delta rule (Yang et al. 2024) behind a short convolution in place
// of attention, every fourth attention whose result is gated. Norms are zero-centred but for the one behind the rule.
// Positions turn a quarter of a head.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "graph/drawing.h"
#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"
#include "model/arch/guessing_layers.h"
#include "model/arch/shared_expert.h"
#include "model/layer_types.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::uint64_t kFullEvery = 4;  // where files do not say which layers attend
constexpr float kKeyEpsilon = 1e-6F;     // of the norms of keys and queries
constexpr std::uint64_t kMostDeltaHeads = 1 << 10, kMostDeltaDim = 1 << 10;

// --- the network -----------------------------------------------------------------------------------------------------

// Queries and what gates their results are one matrix, head by head.
Value draw_gated_attention(Drawing& d, Value h, const ModelConfig& c, std::int64_t layer) {
  const std::uint64_t query = c.heads * c.head_dim, key_value = c.kv_heads * c.head_dim;
  const Rope rope = rope_of(c, layer);
  auto [both, k, v] = d.linears(h, "attention_in", {{"q", 2 * query}, {"k", key_value}, {"v", key_value}});
  Value q = d.slice_heads(both, 2 * c.head_dim, 0, c.head_dim);
  const Value gate = d.slice_heads(both, 2 * c.head_dim, c.head_dim, c.head_dim);
  q = d.rope(d.rms_norm_heads(q, "q_norm", c.norm_epsilon, c.head_dim), rope);
  k = d.rope(d.rms_norm_heads(k, "k_norm", c.norm_epsilon, c.head_dim), rope);
  const Value mixed = d.attention(q, k, v, attention_of(c, layer));
  return d.linear(d.multiply(mixed, d.sigmoid(gate)), "attention_out", {"o", c.hidden});
}

Value draw_delta_rule(Drawing& d, Value h, const ModelConfig& c) {
  const std::uint64_t keys = c.delta_keys(), values = c.delta_values();
  const auto [qkv, gate, learns, forgets] = d.linears(h, "delta_in",
                                                      {{"delta_qkv", 2 * keys + values},
                                                       {"delta_gate", values},
                                                       {"delta_learn", c.delta_heads},
                                                       {"delta_forget", c.delta_heads}});
  const Value mixed = d.silu(d.causal_convolution(qkv, "delta_taps", c.convolution_taps));
  const Value q = d.l2_norm_heads(d.slice(mixed, 0, keys), kKeyEpsilon, c.delta_key_dim),
              k = d.l2_norm_heads(d.slice(mixed, keys, keys), kKeyEpsilon, c.delta_key_dim),
              v = d.slice(mixed, 2 * keys, values);
  const Value y = d.gated_delta_rule({q, k, v, forgets, learns},
                                     {.rate = "delta_rate",
                                      .bias = "delta_step",
                                      .key_heads = c.delta_key_heads,
                                      .heads = c.delta_heads,
                                      .key_dim = c.delta_key_dim,
                                      .value_dim = c.delta_value_dim,
                                      .scale = static_cast<float>(1 / std::sqrt(static_cast<double>(c.delta_key_dim))),
                                      .tiles_heads = c.tiles_delta_heads});
  const Value normed = d.rms_norm_heads(y, "delta_norm", c.norm_epsilon, c.delta_value_dim);
  // What is known of columns in one order is not known of those in the other.
  return d.linear(d.multiply(normed, d.silu(gate)), c.tiles_delta_heads ? "delta_out_tiled" : "delta_out",
                  {"delta_out", c.hidden});
}

// The experts that a token is sent to, and one beside them that sees every token and is gated.
Value draw_mixture(Drawing& d, Value h, const ModelConfig& c) {
  const Value gated = draw_gated_shared_expert(d, h, c);
  return d.add(draw_experts(d, h, c), gated);
}

Graph draw_layer(const ModelConfig& c, std::int64_t layer) {
  Drawing d;
  Value x = d.input(token_rows(c.hidden));
  const Value h = d.rms_norm(x, "attention_norm", c.norm_epsilon);
  x = d.add(x, c.is_recurrent(layer) ? draw_delta_rule(d, h, c) : draw_gated_attention(d, h, c, layer));
  const Value g = d.rms_norm(x, "mlp_norm", c.norm_epsilon);
  x = d.add(x, c.has_experts(layer) ? draw_mixture(d, g, c) : draw_unbiased_mlp(d, g, c));
  return std::move(d).finish({x});
}

std::vector<TensorName> tensor_names() {
  std::vector<TensorName> names = {
      {"embedding", "model.embed_tokens.weight", "token_embd.weight"},
      {"attention_norm", "model.layers.{}.input_layernorm.weight", "blk.{}.attn_norm.weight", 1},
      {"q", "model.layers.{}.self_attn.q_proj.weight", "blk.{}.attn_q.weight"},
      {"k", "model.layers.{}.self_attn.k_proj.weight", "blk.{}.attn_k.weight"},
      {"v", "model.layers.{}.self_attn.v_proj.weight", "blk.{}.attn_v.weight"},
      {"o", "model.layers.{}.self_attn.o_proj.weight", "blk.{}.attn_output.weight"},
      {"q_norm", "model.layers.{}.self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight", 1},
      {"k_norm", "model.layers.{}.self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight", 1},
      {"delta_qkv", "model.layers.{}.linear_attn.in_proj_qkv.weight", "blk.{}.attn_qkv.weight"},
      {"delta_gate", "model.layers.{}.linear_attn.in_proj_z.weight", "blk.{}.attn_gate.weight"},
      {"delta_learn", "model.layers.{}.linear_attn.in_proj_b.weight", "blk.{}.ssm_beta.weight"},
      {"delta_forget", "model.layers.{}.linear_attn.in_proj_a.weight", "blk.{}.ssm_alpha.weight"},
      {"delta_taps", "model.layers.{}.linear_attn.conv1d.weight", "blk.{}.ssm_conv1d.weight"},
      {"delta_rate", "model.layers.{}.linear_attn.A_log", "blk.{}.ssm_a"},
      {"delta_step", "model.layers.{}.linear_attn.dt_bias", "blk.{}.ssm_dt.bias"},
      {"delta_norm", "model.layers.{}.linear_attn.norm.weight", "blk.{}.ssm_norm.weight"},
      {"delta_out", "model.layers.{}.linear_attn.out_proj.weight", "blk.{}.ssm_out.weight"},
      {"mlp_norm", "model.layers.{}.post_attention_layernorm.weight", "blk.{}.post_attention_norm.weight", 1},
      {"gate", "model.layers.{}.mlp.gate_proj.weight", "blk.{}.ffn_gate.weight"},
      {"up", "model.layers.{}.mlp.up_proj.weight", "blk.{}.ffn_up.weight"},
      {"down", "model.layers.{}.mlp.down_proj.weight", "blk.{}.ffn_down.weight"},
      {"final_norm", "model.norm.weight", "output_norm.weight", 1},
      {"head", "lm_head.weight", "output.weight"},
  };
  const auto at = [&](std::string_view part) { return std::ranges::find(names, part, &TensorName::part); };
  for (const std::string_view part :
       {"delta_qkv", "delta_gate", "delta_learn", "delta_forget", "delta_taps", "delta_rate", "delta_step"})
    at(part)->value_heads = ValueHeads::rows;
  at("delta_out")->value_heads = ValueHeads::columns;
  at("delta_taps")->hf_middle_axis = true;
  at("delta_rate")->hf_log_of_minus = true;
  return names;
}

std::vector<TensorName> mixture_names() {
  std::vector<TensorName> names = tensor_names();
  std::vector<TensorName> own = gated_shared_expert_names();
  const std::vector<TensorName> experts = mlp_expert_names();
  own.insert(own.end(), experts.begin(), experts.end());
  names.insert(std::ranges::find(names, "final_norm", &TensorName::part), own.begin(), own.end());
  return names;
}

// --- what both containers say ----------------------------------------------------------------------------------------

std::vector<bool> usual_recurrent_layers(std::uint64_t layers, std::uint64_t full_every) {
  return usual_sliding_layers(layers, full_every);
}

// Sections that give every rotary pair to time, height or width of a picture.
std::vector<std::uint64_t> usual_sections(std::uint64_t pairs) { return {(pairs + 2) / 3, (pairs + 1) / 3, pairs / 3}; }

std::uint64_t sum_of(const std::vector<std::uint64_t>& numbers) {
  std::uint64_t sum = 0;
  for (const std::uint64_t number : numbers) sum += number;
  return sum;
}

// What keeps a network with these numbers from being drawn; empty: nothing.
std::string defect_of(const ModelConfig& c) {
  const auto is_count = [](std::uint64_t value, std::uint64_t most) { return value >= 1 && value <= most; };
  if (!is_count(c.delta_heads, kMostDeltaHeads) || !is_count(c.delta_key_heads, kMostDeltaHeads) ||
      c.delta_heads % c.delta_key_heads != 0)
    return fmt::format(
        "value heads of recurrent layers must be a multiple of their key heads, between 1 and {}: {}, {}",
        kMostDeltaHeads, c.delta_heads, c.delta_key_heads);
  if (!is_count(c.delta_key_dim, kMostDeltaDim) || !is_count(c.delta_value_dim, kMostDeltaDim))
    return fmt::format("heads of recurrent layers must have 1 to {} channels: {}, {}", kMostDeltaDim, c.delta_key_dim,
                       c.delta_value_dim);
  if (c.num_experts != 0 && !is_count(c.shared_intermediate, kMostSharedWidth))
    return fmt::format("the shared expert must have 1 to {} channels: {}", kMostSharedWidth, c.shared_intermediate);
  if (!is_count(c.convolution_taps, CausalConvolution::kMostTaps))
    return fmt::format("convolutions must have 1 to {} taps: {}", CausalConvolution::kMostTaps, c.convolution_taps);
  return {};
}

// --- config.json -----------------------------------------------------------------------------------------------------

std::vector<bool> read_recurrent_layers(const HuggingFaceFields& fields, std::uint64_t layers) {
  constexpr const char* kInterval = "full_attention_interval";
  const std::uint64_t every = fields.integer(kInterval, kFullEvery);
  if (every == 0) fields.wrong(kInterval, "at least 1", 0);
  const std::vector<bool> usual = usual_recurrent_layers(layers, every);
  const auto said = read_layer_types(fields, layers, "linear_attention");
  if (said && fields.find(kInterval) != nullptr && *said != usual)
    fields.wrong(kInterval, "what layer_types say: every so many layers full_attention", every);
  return said.value_or(usual);
}

void read_sections(const HuggingFaceFields& fields, ModelConfig& c) {
  if (fields.find("rope_parameters") == nullptr) return;
  const HuggingFaceFields rope = fields.object("rope_parameters");
  const auto* const sections = rope.find("mrope_section");
  if (sections == nullptr) return;
  const bool is_list = sections->is_array() && sections->size() <= 4 &&
                       std::ranges::all_of(*sections, [](const auto& v) { return v.is_number_unsigned(); });
  if (!is_list) rope.wrong("mrope_section", "a list of up to four counts", *sections);
  for (const auto& section : *sections)
    c.rope_sections.push_back(std::min(section.get<std::uint64_t>(), kMostDeltaDim));
}

void read_huggingface(const HuggingFaceFields& fields, ModelConfig& c) {
  if (c.attention_bias) fields.unsupported("biases of attention cannot be run in this family; attention_bias");
  if (!fields.boolean("attn_output_gate", true))
    fields.unsupported("attention without a gate cannot be run in this family; attn_output_gate");
  if (c.layers <= kMaxLayers) c.recurs = read_recurrent_layers(fields, c.layers);
  c.delta_heads = fields.integer("linear_num_value_heads", 32);
  c.delta_key_heads = fields.integer("linear_num_key_heads", 16);
  c.delta_key_dim = fields.integer("linear_key_head_dim", 128);
  c.delta_value_dim = fields.integer("linear_value_head_dim", 128);
  c.convolution_taps = fields.integer("linear_conv_kernel_dim", 4);
  read_sections(fields, c);
  if (c.num_experts != 0) c.shared_intermediate = fields.integer("shared_expert_intermediate_size", 512);
  if (const std::string defect = defect_of(c); !defect.empty()) fields.contradicts(defect);
}

void write_huggingface(const ModelConfig& c, nlohmann::ordered_json& json) {
  if (c.num_experts != 0) {
    json.erase("intermediate_size");
    json["num_experts"] = c.num_experts;
    json["num_experts_per_tok"] = c.experts_used;
    json["moe_intermediate_size"] = c.expert_intermediate;
    json["shared_expert_intermediate_size"] = c.shared_intermediate;
  }
  json["layer_types"] = nlohmann::ordered_json::array();
  for (std::size_t i = 0; i < c.recurs.size(); ++i)
    json["layer_types"].push_back(c.recurs[i] ? "linear_attention" : "full_attention");
  json["linear_num_value_heads"] = c.delta_heads;
  json["linear_num_key_heads"] = c.delta_key_heads;
  json["linear_key_head_dim"] = c.delta_key_dim;
  json["linear_value_head_dim"] = c.delta_value_dim;
  json["linear_conv_kernel_dim"] = c.convolution_taps;
  // Transformers reads all of rotary positions from one group.
  nlohmann::ordered_json rope = {{"rope_type", "default"}};
  if (!json["rope_scaling"].is_null()) rope = json["rope_scaling"];
  rope["rope_theta"] = json["rope_theta"];
  rope["partial_rotary_factor"] = json["partial_rotary_factor"];
  if (!c.rope_sections.empty()) {
    std::vector<std::uint64_t> sections = c.rope_sections;
    while (sections.size() > 3 && sections.back() == 0) sections.pop_back();
    rope["mrope_section"] = sections;
    rope["mrope_interleaved"] = true;
  }
  for (const char* const key : {"rope_scaling", "rope_theta", "partial_rotary_factor"}) json.erase(key);
  json["rope_parameters"] = rope;
}

// --- GGUF ------------------------------------------------------------------------------------------------------------

// Which rotary pairs llama.cpp turns for a text: sections take turns at them, and what is over belongs to a fourth one
// that stands still.
bool all_turn(const std::vector<std::uint64_t>& sections, std::uint64_t pairs) {
  const std::uint64_t sum = sum_of(sections);
  for (std::uint64_t pair = 0; pair < pairs; ++pair) {
    const std::uint64_t sector = sum == 0 ? 0 : pair % sum, which = sector % 3;
    if (sum == 0 || which >= sections.size() || sector >= 3 * sections[which]) return false;
  }
  return true;
}

void read_gguf(const GgufKeys& keys, ModelConfig& c) {
  c.delta_key_heads = keys.required_integer("ssm.group_count");
  c.delta_heads = keys.required_integer("ssm.time_step_rank");
  c.delta_key_dim = c.delta_value_dim = keys.required_integer("ssm.state_size");
  c.convolution_taps = keys.required_integer("ssm.conv_kernel");
  if (c.num_experts != 0) c.shared_intermediate = read_shared_width(keys);
  if (const std::string defect = defect_of(c); !defect.empty()) keys.contradicts(defect);
  if (const std::uint64_t inner = keys.required_integer("ssm.inner_size"); inner != c.delta_values())
    keys.unsupported(fmt::format("values of another length than keys cannot be run; {}: {}, not {}",
                                 keys.full("ssm.inner_size"), inner, c.delta_values()));
  c.tiles_delta_heads = c.delta_heads != c.delta_key_heads;
  if (c.layers > kMaxLayers) return;
  const std::uint64_t all_layers = c.layers;
  leave_guessing_layers(keys, c);
  if (auto flags = keys.layer_flags("attention.recurrent_layers", all_layers)) {
    flags->resize(c.layers);
    c.recurs = std::move(*flags);
  } else {
    const std::uint64_t every = keys.integer("full_attention_interval").value_or(kFullEvery);
    if (every == 0) keys.wrong("full_attention_interval", "must be at least 1: 0");
    c.recurs = usual_recurrent_layers(c.layers, every);
  }
  const auto sections = keys.numbers("rope.dimension_sections");
  if (!sections) keys.missing("rope.dimension_sections");
  if (sections->size() > 4) keys.wrong("rope.dimension_sections", "must be up to four counts of rotary pairs");
  for (const double section : *sections) {
    if (!(section >= 0 && section <= static_cast<double>(kMostDeltaDim)))
      keys.wrong("rope.dimension_sections", fmt::format("must be counts of rotary pairs: {}", section));
    c.rope_sections.push_back(static_cast<std::uint64_t>(section));
  }
  if (!all_turn(c.rope_sections, c.rope.rotary_dim / 2))
    keys.unsupported(fmt::format("rotary pairs that do not turn cannot be run; {}: {} of {} pairs",
                                 keys.full("rope.dimension_sections"), fmt::join(c.rope_sections, ", "),
                                 c.rope.rotary_dim / 2));
}

void write_gguf(const ModelConfig& c, const std::string& prefix, GgufMetadata& metadata) {
  if (c.delta_key_dim != c.delta_value_dim)
    throw Error(ErrorKind::unsupported,
                fmt::format("GGUF files of this family cannot say that keys and values of recurrent layers differ in "
                            "length; write a directory instead: {}, {}",
                            c.delta_key_dim, c.delta_value_dim));
  const auto count = [&](const char* key, std::uint64_t value) {
    metadata.set(prefix + key, GgufValue::of_u32(static_cast<std::uint32_t>(value)));
  };
  if (c.num_experts != 0 && !c.normalizes_routing)
    throw Error(ErrorKind::unsupported,
                "GGUF files of this family cannot say that experts' weights are used as they are; write a directory "
                "instead: norm_topk_prob false");
  write_shared_width(c, prefix, metadata);
  count("ssm.conv_kernel", c.convolution_taps);
  count("ssm.state_size", c.delta_key_dim);
  count("ssm.group_count", c.delta_key_heads);
  count("ssm.time_step_rank", c.delta_heads);
  count("ssm.inner_size", c.delta_values());
  const auto first_full = static_cast<std::uint64_t>(std::ranges::find(c.recurs, false) - c.recurs.begin());
  if (c.recurs == usual_recurrent_layers(c.layers, first_full + 1)) count("full_attention_interval", first_full + 1);
  metadata.set(prefix + "attention.recurrent_layers", GgufValue::of_bools(c.recurs));
  // llama.cpp does not turn pairs that no section has.
  const std::uint64_t pairs = c.rope.rotary_dim / 2;
  const std::vector<std::uint64_t> sections =
      sum_of(c.rope_sections) == pairs && all_turn(c.rope_sections, pairs) ? c.rope_sections : usual_sections(pairs);
  std::vector<std::int32_t> four(4);
  std::ranges::copy(sections, four.begin());
  metadata.set(prefix + "rope.dimension_sections", GgufValue::of_i32s(four));
}

}  // namespace

Architecture qwen35_architecture() {
  Architecture a;
  a.title = "Qwen 3.5, Qwen 3.6";
  a.name = a.gguf_name = "qwen35";
  a.rotates_partly = true;
  a.variants = {{.model_type = "qwen3_5_text",
                 .class_name = "Qwen3_5ForCausalLM",
                 .wrapper_type = "qwen3_5",
                 .wrapper_class = "Qwen3_5ForConditionalGeneration",
                 .default_vocab = 248320,
                 .default_hidden = 4096,
                 .default_intermediate = 12288,
                 .default_layers = 32,
                 .default_heads = 16,
                 .default_kv_heads = 4,
                 .default_head_dim = 256,
                 .default_context = 32768,
                 .default_rotary_part = 0.25}};
  a.names = tensor_names();
  a.draw_begin = draw_embedding;
  a.draw_layer = draw_layer;
  a.draw_end = draw_head;
  a.read_huggingface = read_huggingface;
  a.read_gguf = read_gguf;
  a.write_huggingface = write_huggingface;
  a.write_gguf = write_gguf;
  a.gguf_own_keys = {"nextn_predict_layers"};
  return a;
}

Architecture qwen35moe_architecture() {
  Architecture a = qwen35_architecture();
  a.title = "Qwen 3.5 and 3.6 with experts";
  a.name = a.gguf_name = "qwen35moe";
  a.variants = {{.model_type = "qwen3_5_moe_text",
                 .class_name = "Qwen3_5MoeForCausalLM",
                 .wrapper_type = "qwen3_5_moe",
                 .wrapper_class = "Qwen3_5MoeForConditionalGeneration",
                 .default_vocab = 248320,
                 .default_hidden = 2048,
                 .default_layers = 40,
                 .default_heads = 16,
                 .default_kv_heads = 2,
                 .default_head_dim = 256,
                 .default_context = 32768,
                 .default_experts = 256,
                 .default_experts_used = 8,
                 .default_expert_intermediate = 512,
                 .is_all_experts = true,
                 .has_routing_keys = false,
                 .default_rotary_part = 0.25}};
  a.gguf_expert_width = true;
  a.gguf_own_keys = {"nextn_predict_layers", "expert_shared_feed_forward_length"};
  a.names = mixture_names();
  return a;
}

}  // namespace nibble
