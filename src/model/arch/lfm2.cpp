// SPDX-License-Identifier: Apache-2.0
//
// LFM 2 (Liquid AI 2025), its dense models: most layers have a short gated convolution in place of attention, y = C *
// conv(B * x) of three parts of one matrix; the others norm queries and keys head by head before they turn.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "graph/drawing.h"
#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"
#include "model/layer_types.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::string_view kKvHeads = "attention.head_count_kv";  // a list in GGUF files: 0 where a layer convolves

// --- the network -----------------------------------------------------------------------------------------------------

Value draw_attention(Drawing& d, Value h, const ModelConfig& c, std::int64_t layer) {
  const std::uint64_t query = c.heads * c.head_dim, key_value = c.kv_heads * c.head_dim;
  const Rope rope = rope_of(c, layer);
  auto [q, k, v] = d.linears(h, "attention_in", {{"q", query}, {"k", key_value}, {"v", key_value}});
  q = d.rope(d.rms_norm_heads(q, "q_norm", c.norm_epsilon, c.head_dim), rope);
  k = d.rope(d.rms_norm_heads(k, "k_norm", c.norm_epsilon, c.head_dim), rope);
  return d.linear(d.attention(q, k, v, attention_of(c, layer)), "attention_out", {"o", c.hidden});
}

Value draw_convolution(Drawing& d, Value h, const ModelConfig& c) {
  const Value all = d.linear(h, "convolution_in", {"convolution_in", 3 * c.hidden});
  const Value before = d.slice(all, 0, c.hidden), behind = d.slice(all, c.hidden, c.hidden),
              x = d.slice(all, 2 * c.hidden, c.hidden);
  const Value mixed = d.causal_convolution(d.multiply(before, x), "convolution_taps", c.convolution_taps);
  return d.linear(d.multiply(behind, mixed), "convolution_out", {"convolution_out", c.hidden});
}

Graph draw_layer(const ModelConfig& c, std::int64_t layer) {
  Drawing d;
  Value x = d.input(token_rows(c.hidden));
  const Value h = d.rms_norm(x, "attention_norm", c.norm_epsilon);
  x = d.add(x, c.is_recurrent(layer) ? draw_convolution(d, h, c) : draw_attention(d, h, c, layer));
  const auto [gate, up] = d.linears(d.rms_norm(x, "mlp_norm", c.norm_epsilon), "mlp_in",
                                    {{"gate", c.intermediate}, {"up", c.intermediate}});
  x = d.add(x, d.linear(d.multiply(d.silu(gate), up), "mlp_out", {"down", c.hidden}));
  return std::move(d).finish({x});
}

std::vector<TensorName> tensor_names() {
  std::vector<TensorName> names = {
      {"embedding", "model.embed_tokens.weight", "token_embd.weight"},
      {"attention_norm", "model.layers.{}.operator_norm.weight", "blk.{}.attn_norm.weight"},
      {"q", "model.layers.{}.self_attn.q_proj.weight", "blk.{}.attn_q.weight"},
      {"k", "model.layers.{}.self_attn.k_proj.weight", "blk.{}.attn_k.weight"},
      {"v", "model.layers.{}.self_attn.v_proj.weight", "blk.{}.attn_v.weight"},
      {"o", "model.layers.{}.self_attn.out_proj.weight", "blk.{}.attn_output.weight"},
      {"q_norm", "model.layers.{}.self_attn.q_layernorm.weight", "blk.{}.attn_q_norm.weight"},
      {"k_norm", "model.layers.{}.self_attn.k_layernorm.weight", "blk.{}.attn_k_norm.weight"},
      {"convolution_in", "model.layers.{}.conv.in_proj.weight", "blk.{}.shortconv.in_proj.weight"},
      {"convolution_taps", "model.layers.{}.conv.conv.weight", "blk.{}.shortconv.conv.weight"},
      {"convolution_out", "model.layers.{}.conv.out_proj.weight", "blk.{}.shortconv.out_proj.weight"},
      {"mlp_norm", "model.layers.{}.ffn_norm.weight", "blk.{}.ffn_norm.weight"},
      {"gate", "model.layers.{}.feed_forward.w1.weight", "blk.{}.ffn_gate.weight"},
      {"up", "model.layers.{}.feed_forward.w3.weight", "blk.{}.ffn_up.weight"},
      {"down", "model.layers.{}.feed_forward.w2.weight", "blk.{}.ffn_down.weight"},
      {"final_norm", "model.embedding_norm.weight", "token_embd_norm.weight"},
      {"head", "lm_head.weight", "output.weight"},
  };
  std::ranges::find(names, "convolution_taps", &TensorName::part)->hf_middle_axis = true;
  return names;
}

bool is_sound_taps(std::uint64_t taps) { return taps >= 2 && taps <= CausalConvolution::kMostTaps; }
std::string taps_words() { return fmt::format("between 2 and {}", CausalConvolution::kMostTaps); }

// --- config.json -----------------------------------------------------------------------------------------------------

// Layers convolve but for those that layer_types, or a list of their numbers, say.
std::vector<bool> read_convolutions(const HuggingFaceFields& fields, std::uint64_t layers) {
  if (auto said = read_layer_types(fields, layers, "conv")) return *said;
  constexpr const char* kKey = "full_attn_idxs";
  const auto* const attending = fields.find(kKey);
  std::vector<bool> convolves(layers, attending != nullptr);
  if (attending == nullptr) return convolves;
  if (!attending->is_array()) fields.wrong(kKey, "a list of layers", *attending);
  for (const auto& layer : *attending) {
    if (!layer.is_number_unsigned() || layer.get<std::uint64_t>() >= layers)
      fields.wrong(kKey, "a list of the model's layers", *attending);
    convolves[layer.get<std::uint64_t>()] = false;
  }
  return convolves;
}

// The width that the class makes of the one that is said.
std::uint64_t adjusted_width(const HuggingFaceFields& fields, std::uint64_t width) {
  if (!fields.boolean("block_auto_adjust_ff_dim", true)) return width;
  const double factor = fields.number("block_ffn_dim_multiplier", 1);
  const std::uint64_t multiple = fields.integer("block_multiple_of", 256);
  if (!(factor > 0 && factor < 1e3)) fields.wrong("block_ffn_dim_multiplier", "positive", factor);
  if (multiple < 1 || multiple > (1u << 16)) fields.wrong("block_multiple_of", "between 1 and 65536", multiple);
  const auto made = static_cast<std::uint64_t>(factor * std::floor(static_cast<double>(2 * width) / 3));
  return (made + multiple - 1) / multiple * multiple;
}

void read_huggingface(const HuggingFaceFields& fields, ModelConfig& c) {
  if (fields.boolean("conv_bias", false)) fields.unsupported("biases of convolutions cannot be run; conv_bias");
  c.attention_bias = c.output_bias = c.mlp_bias = false;  // which the class does not have
  c.tied_embedding = fields.boolean("tie_embedding", c.tied_embedding);
  c.convolution_taps = fields.integer("conv_L_cache", 3);
  if (!is_sound_taps(c.convolution_taps)) fields.wrong("conv_L_cache", taps_words().c_str(), c.convolution_taps);
  if (c.intermediate < (std::uint64_t{1} << 32)) c.intermediate = adjusted_width(fields, c.intermediate);
  if (c.layers <= kMaxLayers) c.recurs = read_convolutions(fields, c.layers);
}

void write_huggingface(const ModelConfig& c, nlohmann::ordered_json& json) {
  for (const char* const key : {"attention_bias", "mlp_bias", "rms_norm_eps", "hidden_act"}) json.erase(key);
  json["norm_eps"] = shortest_decimal(c.norm_epsilon);
  json["block_auto_adjust_ff_dim"] = false;
  json["conv_L_cache"] = c.convolution_taps;
  json["conv_bias"] = false;
  json["layer_types"] = nlohmann::ordered_json::array();
  for (std::uint64_t i = 0; i < c.layers; ++i)
    json["layer_types"].push_back(c.is_recurrent(static_cast<std::int64_t>(i)) ? "conv" : "full_attention");
}

// --- GGUF ------------------------------------------------------------------------------------------------------------

void read_gguf(const GgufKeys& keys, ModelConfig& c) {
  c.convolution_taps = keys.required_integer("shortconv.l_cache");
  if (!is_sound_taps(c.convolution_taps))
    keys.wrong("shortconv.l_cache", fmt::format("must lie {}: {}", taps_words(), c.convolution_taps));
  if (c.layers < 1 || c.layers > kMaxLayers) return;  // judged later
  const auto heads = keys.layer_integers(kKvHeads, c.layers);
  if (!heads) keys.missing(kKvHeads);
  c.recurs.assign(c.layers, false);
  c.kv_heads = *std::ranges::max_element(*heads);
  for (std::uint64_t i = 0; i < c.layers; ++i) {
    c.recurs[i] = (*heads)[i] == 0;
    if (!c.recurs[i] && (*heads)[i] != c.kv_heads)
      keys.unsupported(fmt::format("layers whose heads differ cannot be run; {}: {}, {}", keys.full(kKvHeads),
                                   c.kv_heads, (*heads)[i]));
  }
}

void write_gguf(const ModelConfig& c, const std::string& prefix, GgufMetadata& metadata) {
  if (c.heads * c.head_dim != c.hidden)
    throw Error(ErrorKind::unsupported,
                fmt::format("llama.cpp reads no file of this family whose heads are not as wide as the model together; "
                            "write a directory instead: {} heads of {}, width {}",
                            c.heads, c.head_dim, c.hidden));
  std::vector<std::int32_t> heads;
  for (std::uint64_t i = 0; i < c.layers; ++i)
    heads.push_back(c.is_recurrent(static_cast<std::int64_t>(i)) ? 0 : static_cast<std::int32_t>(c.kv_heads));
  metadata.set(prefix + std::string(kKvHeads), GgufValue::of_i32s(heads));
  metadata.set(prefix + "shortconv.l_cache", GgufValue::of_u32(static_cast<std::uint32_t>(c.convolution_taps)));
}

}  // namespace

Architecture lfm2_architecture() {
  Architecture a;
  a.title = "LFM 2 without experts";
  a.name = a.gguf_name = "lfm2";
  a.gguf_lists_layers = true;
  a.variants = {{.model_type = "lfm2",
                 .class_name = "Lfm2ForCausalLM",
                 .default_kv_heads = 8,
                 .other_intermediate_key = "block_ff_dim",
                 .norm_epsilon_key = "norm_eps",
                 .default_context = 128000,
                 .default_norm_epsilon = 1e-5,
                 .default_rope_base = 1000000,
                 .default_tied = true}};
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
