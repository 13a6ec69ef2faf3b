// SPDX-License-Identifier: Apache-2.0
//
// gpt-oss (OpenAI 2025): a mixture of experts whose attention has a sink for each head, every second layer within a
// window, biases everywhere, and experts with a bounded SwiGLU. Positions are stretched by YaRN whose borders are not
// made whole. Hugging Face files stack the experts: rows of gate and up in turn, released ones in MXFP4, others columns
// by rows.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "graph/drawing.h"
#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr float kAlpha = 1.702F, kLimit = 7;  // of the SwiGLU, which llama.cpp takes for granted

Value draw_clamped_experts(Drawing& d, Value h, const ModelConfig& c) {
  const std::uint64_t wide = c.expert_intermediate;
  const Value routing = d.route(d.linear(h, "mlp_in", {"router", c.num_experts, true, TensorRole::router}),
                                {.used = c.experts_used, .normalizes = true});
  const Value gate = d.expert_linear(h, routing, "experts_in", "expert_gate", wide, true);
  const Value up = d.expert_linear(h, routing, "experts_in", "expert_up", wide, true);
  const Value made = d.clamped_swiglu(gate, up, {.alpha = c.swiglu_alpha, .limit = c.swiglu_limit});
  return d.mix_experts(d.expert_linear(made, routing, "experts_out", "expert_down", c.hidden, true), routing);
}

Graph draw_layer(const ModelConfig& c, std::int64_t layer) {
  const std::uint64_t query = c.heads * c.head_dim, key_value = c.kv_heads * c.head_dim;
  const Rope rope = rope_of(c, layer);
  Attention attention = attention_of(c, layer);
  attention.sinks = "sinks";

  Drawing d;
  Value x = d.input(token_rows(c.hidden));
  const Value h = d.rms_norm(x, "attention_norm", c.norm_epsilon);
  const bool b = c.attention_bias;
  const auto [q, k, v] = d.linears(h, "attention_in", {{"q", query, b}, {"k", key_value, b}, {"v", key_value, b}});
  const Value mixed = d.attention(d.rope(q, rope), d.rope(k, rope), v, attention);
  x = d.add(x, d.linear(mixed, "attention_out", {"o", c.hidden, c.output_bias}));
  x = d.add(x, draw_clamped_experts(d, d.rms_norm(x, "mlp_norm", c.norm_epsilon), c));
  return std::move(d).finish({x});
}

std::vector<TensorName> names() {
  std::vector<TensorName> names = dense_decoder_names();
  const auto at = [&](std::string_view part) { return std::ranges::find(names, part, &TensorName::part); };
  for (const std::string_view part : {"gate", "up", "down", "gate.bias", "up.bias", "down.bias"}) names.erase(at(part));
  at("mlp_norm")->gguf = "blk.{}.post_attention_norm.weight";
  names.insert(at("mlp_norm"), {"sinks", "model.layers.{}.self_attn.sinks", "blk.{}.attn_sinks.weight"});
  constexpr std::string_view kGateUp = "model.layers.{}.mlp.experts.gate_up_proj",
                             kGateUpBias = "model.layers.{}.mlp.experts.gate_up_proj_bias",
                             kDown = "model.layers.{}.mlp.experts.down_proj",
                             kDownBias = "model.layers.{}.mlp.experts.down_proj_bias";
  const auto gate = [](std::string_view part, std::string_view hf, std::string_view gguf, std::string_view stack) {
    return TensorName{part, hf, gguf, 0, stack, 0, 2, true};
  };
  const auto up = [](std::string_view part, std::string_view hf, std::string_view gguf, std::string_view stack) {
    return TensorName{part, hf, gguf, 0, stack, 1, 2, true};
  };
  names.insert(
      at("final_norm"),
      {{"router", "model.layers.{}.mlp.router.weight", "blk.{}.ffn_gate_inp.weight"},
       {"router.bias", "model.layers.{}.mlp.router.bias", "blk.{}.ffn_gate_inp.bias"},
       gate("expert_gate", "model.layers.{}.mlp.experts.{}.gate_proj.weight", "blk.{}.ffn_gate_exps.weight", kGateUp),
       up("expert_up", "model.layers.{}.mlp.experts.{}.up_proj.weight", "blk.{}.ffn_up_exps.weight", kGateUp),
       {"expert_down", "model.layers.{}.mlp.experts.{}.down_proj.weight", "blk.{}.ffn_down_exps.weight", 0, kDown},
       gate("expert_gate.bias", "model.layers.{}.mlp.experts.{}.gate_proj.bias", "blk.{}.ffn_gate_exps.bias",
            kGateUpBias),
       up("expert_up.bias", "model.layers.{}.mlp.experts.{}.up_proj.bias", "blk.{}.ffn_up_exps.bias", kGateUpBias),
       {"expert_down.bias", "model.layers.{}.mlp.experts.{}.down_proj.bias", "blk.{}.ffn_down_exps.bias", 0,
        kDownBias}});
  constexpr auto kOwnStacks = std::to_array<std::pair<std::string_view, std::string_view>>(
      {{"expert_gate", "model.layers.{}.mlp.experts.gate_proj.weight"},
       {"expert_up", "model.layers.{}.mlp.experts.up_proj.weight"},
       {"expert_down", "model.layers.{}.mlp.experts.down_proj.weight"},
       {"expert_gate.bias", "model.layers.{}.mlp.experts.gate_proj.bias"},
       {"expert_up.bias", "model.layers.{}.mlp.experts.up_proj.bias"},
       {"expert_down.bias", "model.layers.{}.mlp.experts.down_proj.bias"}});
  for (const auto& [part, stack] : kOwnStacks) at(part)->hf_own_stack = stack;
  return names;
}

// --- config.json -----------------------------------------------------------------------------------------------------

void read_huggingface(const HuggingFaceFields& fields, ModelConfig& c) {
  const auto positive = [&](const char* key, float usual) {
    const double value = fields.number(key, static_cast<double>(usual));
    if (!(value > 1e-6 && value < 1e6)) fields.wrong(key, "positive", *fields.find(key));
    return static_cast<float>(value);
  };
  if (c.num_experts == 0) fields.wrong("num_local_experts", "at least 1", 0);
  // Released files say it twice; transformers reads one of the two.
  if (const auto* const other = fields.find("experts_per_token"); other != nullptr && *other != c.experts_used)
    fields.wrong("experts_per_token", fmt::format("the same as num_experts_per_tok ({})", c.experts_used).c_str(),
                 *other);
  c.swiglu_alpha = positive("swiglu_alpha", kAlpha);
  c.swiglu_limit = positive("swiglu_limit", kLimit);
  if (fields.find("rope_parameters") != nullptr || fields.find("rope_scaling") != nullptr) return;
  // The class's own, where the file says nothing of positions.
  c.rope.scaling = RopeScaling::yarn;
  c.rope.factor = 32;
  c.rope.original_context = 4096;
  c.rope.high_frequency_factor = kYarnFastTurns;
  c.rope.low_frequency_factor = kYarnSlowTurns;
  c.rope.whole_borders = false;
  c.rope.magnitude = static_cast<float>(yarn_magnitude(c.rope.factor));
}

void write_huggingface(const ModelConfig& c, nlohmann::ordered_json& json) {
  json.erase("mlp_bias");
  json["intermediate_size"] = c.expert_intermediate;
  json["num_local_experts"] = c.num_experts;
  json["num_experts_per_tok"] = c.experts_used;
  json["swiglu_alpha"] = shortest_decimal(c.swiglu_alpha);
  json["swiglu_limit"] = shortest_decimal(c.swiglu_limit);
  if (c.rope.scaling == RopeScaling::none) json["rope_scaling"] = {{"rope_type", "default"}};  // null means yarn
  if (c.sliding_window == 0) json["layer_types"] = std::vector<std::string>(c.layers, "full_attention");
}

// --- GGUF ------------------------------------------------------------------------------------------------------------

void read_gguf(const GgufKeys& keys, ModelConfig& c) {
  if (c.num_experts == 0) keys.missing("expert_count");
  c.output_bias = true;
  c.swiglu_alpha = kAlpha;
  c.swiglu_limit = kLimit;
}

void write_gguf(const ModelConfig& c, const std::string&, GgufMetadata&) {
  const auto refuse = [](const std::string& what) {
    throw Error(ErrorKind::unsupported, what + "; write a directory instead");
  };
  if (c.tied_embedding) refuse("llama.cpp reads no file of this family without a head beside the embedding");
  if (!c.attention_bias || !c.output_bias) refuse("GGUF files of this family cannot say that attention has no biases");
  if (c.sliding_window > 0 && c.slides != usual_sliding_layers(c.layers, 2))
    refuse(
        "llama.cpp runs every second layer of this family within the window, from the first on; layer_types say "
        "otherwise");
  if (c.swiglu_alpha != kAlpha || c.swiglu_limit != kLimit)
    refuse(fmt::format("GGUF files of this family mean swiglu_alpha {} and swiglu_limit {}, not {} and {}", kAlpha,
                       kLimit, c.swiglu_alpha, c.swiglu_limit));
}

}  // namespace

Architecture gptoss_architecture() {
  Architecture a;
  a.title = "gpt-oss";
  a.name = "gptoss";
  a.gguf_name = "gpt-oss";
  a.gguf_qkv_bias = a.gguf_expert_width = a.llama_cpp_slides = a.hf_stacks_experts = true;
  a.gguf_whole_borders = false;
  a.gguf_full_every = 2;
  a.gguf_default_window = 128;
  a.variants = {{.model_type = "gpt_oss",
                 .class_name = "GptOssForCausalLM",
                 .default_kv_heads = 8,
                 .default_head_dim = 64,
                 .default_context = 131072,
                 .default_norm_epsilon = 1e-5,
                 .default_sliding_window = 128,
                 .default_full_every = 2,
                 .default_rope_base = 150000,
                 .default_experts = 128,
                 .default_experts_used = 4,
                 .default_attention_bias = true}};
  a.names = names();
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
