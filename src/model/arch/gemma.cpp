// SPDX-License-Identifier: Apache-2.0
//
// Gemma 2 (Gemma Team 2024) and Gemma 3, its text part (Gemma Team 2025): norms before and behind attention and MLP,
// GEGLU, an embedding that is scaled and read again as the head, most layers within a window. Gemma 2 bounds scores and
// logits; Gemma 3 norms queries and keys head by head and turns those of layers that slide by a base of their own.
// Norms are zero-centred: Hugging Face files hold w where the network multiplies by 1 + w.
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

Graph draw_begin(const ModelConfig& c) {
  Drawing d;
  const Value x = d.embedding("embedding", c.vocab_size, c.hidden);
  return std::move(d).finish({d.scale(x, std::sqrt(static_cast<float>(c.hidden)))});
}

Graph draw_layer(const ModelConfig& c, std::int64_t layer, bool norms_heads) {
  const std::uint64_t query = c.heads * c.head_dim, key_value = c.kv_heads * c.head_dim;
  const float eps = c.norm_epsilon;
  const Rope rope = rope_of(c, layer);

  Drawing d;
  Value x = d.input(token_rows(c.hidden));
  const Value h = d.rms_norm(x, "attention_norm", eps);
  const bool b = c.attention_bias;
  auto [q, k, v] = d.linears(h, "attention_in", {{"q", query, b}, {"k", key_value, b}, {"v", key_value, b}});
  if (norms_heads) {
    q = d.rms_norm_heads(q, "q_norm", eps, c.head_dim);
    k = d.rms_norm_heads(k, "k_norm", eps, c.head_dim);
  }
  const Value mixed = d.attention(d.rope(q, rope), d.rope(k, rope), v, attention_of(c, layer));
  x = d.add(x,
            d.rms_norm(d.linear(mixed, "attention_out", {"o", c.hidden, c.output_bias}), "after_attention_norm", eps));
  x = d.add(x, d.rms_norm(draw_gated_mlp(d, d.rms_norm(x, "mlp_norm", eps), c, &Drawing::gelu), "after_mlp_norm", eps));
  return std::move(d).finish({x});
}

Graph draw_gemma2_layer(const ModelConfig& c, std::int64_t layer) { return draw_layer(c, layer, false); }
Graph draw_gemma3_layer(const ModelConfig& c, std::int64_t layer) { return draw_layer(c, layer, true); }

std::vector<TensorName> tensor_names(bool norms_heads) {
  std::vector<TensorName> names = dense_decoder_names();
  const auto at = [&](std::string_view part) { return std::ranges::find(names, part, &TensorName::part); };
  at("mlp_norm")->hf = "model.layers.{}.pre_feedforward_layernorm.weight";
  if (norms_heads)
    names.insert(at("mlp_norm"), {{"q_norm", "model.layers.{}.self_attn.q_norm.weight", "blk.{}.attn_q_norm.weight"},
                                  {"k_norm", "model.layers.{}.self_attn.k_norm.weight", "blk.{}.attn_k_norm.weight"}});
  names.insert(at("mlp_norm"), {"after_attention_norm", "model.layers.{}.post_attention_layernorm.weight",
                                "blk.{}.post_attention_norm.weight"});
  names.insert(at("final_norm"),
               {"after_mlp_norm", "model.layers.{}.post_feedforward_layernorm.weight", "blk.{}.post_ffw_norm.weight"});
  for (TensorName& name : names)
    if (name.part.ends_with("_norm")) name.hf_offset = 1;
  return names;
}

// --- config.json -----------------------------------------------------------------------------------------------------

void read_huggingface(const HuggingFaceFields& fields, ModelConfig& c, double attention_cap, double logit_cap) {
  if (fields.boolean("use_bidirectional_attention", false))
    fields.unsupported("tokens that attend to later ones cannot be run; use_bidirectional_attention");
  c.query_pre_attn_scalar = fields.number("query_pre_attn_scalar", 256);
  if (!is_sound_cap(c.query_pre_attn_scalar))
    fields.wrong("query_pre_attn_scalar", "positive", *fields.find("query_pre_attn_scalar"));
  c.attention_soft_cap = read_soft_cap(fields, "attn_logit_softcapping", attention_cap);
  c.logit_soft_cap = read_soft_cap(fields, "final_logit_softcapping", logit_cap);
}

void write_huggingface(const ModelConfig& c, nlohmann::ordered_json& json) {
  json["hidden_act"] = json["hidden_activation"] = "gelu_pytorch_tanh";
  if (c.query_pre_attn_scalar == std::floor(c.query_pre_attn_scalar))
    json["query_pre_attn_scalar"] = static_cast<std::uint64_t>(c.query_pre_attn_scalar);
  else
    json["query_pre_attn_scalar"] = c.query_pre_attn_scalar;
  write_soft_cap(json, "attn_logit_softcapping", c.attention_soft_cap);
  write_soft_cap(json, "final_logit_softcapping", c.logit_soft_cap);
  if (c.sliding_window == 0) json["layer_types"] = std::vector<std::string>(c.layers, "full_attention");
  if (c.sliding_rope && c.sliding_rope->scaling == RopeScaling::none && c.sliding_rope->magnitude != 1)
    throw Error(ErrorKind::unsupported,
                fmt::format("config.json cannot say that the positions of layers that slide are multiplied; keep the "
                            "model in a GGUF file: {}",
                            c.sliding_rope->magnitude));
  if (c.sliding_rope) json["rope_local_base_freq"] = shortest_decimal(static_cast<float>(c.sliding_rope->base));
}

// --- GGUF ------------------------------------------------------------------------------------------------------------

// No key says what scores are divided by the root of: llama.cpp knows the models of 27 billion parameters by their
// number of layers.
double gguf_query_scalar(const ModelConfig& c, std::uint64_t layers_of_27b) {
  return static_cast<double>(c.layers == layers_of_27b && c.heads != 0 ? c.hidden / c.heads : c.head_dim);
}

void write_gguf(const ModelConfig& c, const std::string& prefix, GgufMetadata& metadata, std::uint64_t layers_of_27b) {
  if (!c.tied_embedding)
    throw Error(ErrorKind::unsupported,
                "llama.cpp reads no head beside the embedding in files of this family; write a directory instead");
  if (const double scalar = gguf_query_scalar(c, layers_of_27b); scalar != c.query_pre_attn_scalar)
    throw Error(
        ErrorKind::unsupported,
        fmt::format(
            "GGUF files of this family cannot say what scores are divided by the root of, which llama.cpp takes to "
            "be {}; write a directory instead: query_pre_attn_scalar {}",
            scalar, c.query_pre_attn_scalar));
  if (c.attention_soft_cap != 0)
    metadata.set(prefix + "attn_logit_softcapping", GgufValue::of_f32(c.attention_soft_cap));
  if (c.logit_soft_cap != 0) metadata.set(prefix + "final_logit_softcapping", GgufValue::of_f32(c.logit_soft_cap));
}

constexpr std::uint64_t kGemma2Layers27b = 46, kGemma3Layers27b = 62;

Architecture gemma_architecture(std::string_view title, std::string_view name, bool norms_heads) {
  Architecture a;
  a.title = title;
  a.name = a.gguf_name = name;
  a.activation_key = "hidden_activation";
  a.activation = "gelu_pytorch_tanh";
  a.llama_cpp_slides = true;
  a.names = tensor_names(norms_heads);
  a.draw_begin = draw_begin;
  a.draw_layer = norms_heads ? draw_gemma3_layer : draw_gemma2_layer;
  a.draw_end = draw_head;
  a.write_huggingface = write_huggingface;
  return a;
}

}  // namespace

Architecture gemma2_architecture() {
  Architecture a = gemma_architecture("Gemma 2", "gemma2", false);
  a.variants = {{.model_type = "gemma2",
                 .class_name = "Gemma2ForCausalLM",
                 .default_kv_heads = 4,
                 .default_head_dim = 256,
                 .default_context = 8192,
                 .default_sliding_window = 4096,
                 .default_full_every = 2,
                 .default_tied = true}};
  a.gguf_full_every = 2;
  a.gguf_default_window = 4096;
  a.read_huggingface = [](const HuggingFaceFields& fields, ModelConfig& c) { read_huggingface(fields, c, 50, 30); };
  a.read_gguf = [](const GgufKeys& keys, ModelConfig& c) {
    c.query_pre_attn_scalar = gguf_query_scalar(c, kGemma2Layers27b);
    c.attention_soft_cap = read_soft_cap(keys, "attn_logit_softcapping", 50);
    c.logit_soft_cap = read_soft_cap(keys, "final_logit_softcapping", 30);
  };
  a.write_gguf = [](const ModelConfig& c, const std::string& prefix, GgufMetadata& metadata) {
    if (c.attention_soft_cap == 0 || c.logit_soft_cap == 0)
      throw Error(
          ErrorKind::unsupported,
          "GGUF files of this family cannot say that scores or logits are not bounded; write a directory instead");
    write_gguf(c, prefix, metadata, kGemma2Layers27b);
  };
  return a;
}

Architecture gemma3_architecture() {
  Architecture a = gemma_architecture("Gemma 3", "gemma3", true);
  a.variants = {{.model_type = "gemma3_text",
                 .class_name = "Gemma3ForCausalLM",
                 .wrapper_type = "gemma3",
                 .wrapper_class = "Gemma3ForConditionalGeneration",
                 .default_vocab = 262208,
                 .default_hidden = 2304,
                 .default_intermediate = 9216,
                 .default_layers = 26,
                 .default_heads = 8,
                 .default_kv_heads = 4,
                 .default_head_dim = 256,
                 .default_context = 131072,
                 .default_sliding_window = 4096,
                 .default_full_every = 6,
                 .default_rope_base = 1e6,
                 .default_local_rope_base = 1e4,
                 .default_tied = true}};
  a.gguf_full_every = 6;
  a.gguf_local_rope_base = 1e4;
  a.read_huggingface = [](const HuggingFaceFields& fields, ModelConfig& c) { read_huggingface(fields, c, 0, 0); };
  a.read_gguf = [](const GgufKeys& keys, ModelConfig& c) {
    c.query_pre_attn_scalar = gguf_query_scalar(c, kGemma3Layers27b);
    if (keys.number("final_logit_softcapping")) c.logit_soft_cap = read_soft_cap(keys, "final_logit_softcapping", 1);
  };
  a.write_gguf = [](const ModelConfig& c, const std::string& prefix, GgufMetadata& metadata) {
    if (c.attention_soft_cap != 0)
      throw Error(ErrorKind::unsupported,
                  "GGUF files of this family cannot say that scores are bounded; write a directory instead");
    write_gguf(c, prefix, metadata, kGemma3Layers27b);
    if (!c.sliding_rope) return;
    const RopeConfig& rope = *c.sliding_rope;
    if (rope.scaling != RopeScaling::none)
      throw Error(ErrorKind::unsupported,
                  "GGUF files of this family cannot say that the positions of layers that slide are scaled; write a "
                  "directory instead");
    metadata.set(prefix + "rope.freq_base_swa", GgufValue::of_f32(static_cast<float>(rope.base)));
  };
  return a;
}

}  // namespace nibble
