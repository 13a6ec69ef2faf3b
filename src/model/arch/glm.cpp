// SPDX-License-Identifier: Apache-2.0
//
// ChatGLM 2 and 3, GLM-4 (Team GLM 2024) and GLM-4-0414: Llama with biases on q, k and v, gate and up in one matrix,
// and positions that turn neighbouring channels of the first half of a head, in both containers; 0414 has norms behind
// attention and MLP, too. ChatGLM's directories, whose class is code of their own, have other names for all of this,
// and q, k and v in one matrix. GGUF files call it "chatglm".
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

Graph draw_layer(const ModelConfig& c, std::int64_t layer, bool norms_behind) {
  const std::uint64_t query = c.heads * c.head_dim, key_value = c.kv_heads * c.head_dim, wide = c.intermediate;
  const float eps = c.norm_epsilon;
  const Rope rope = rope_of(c, layer);

  Drawing d;
  Value x = d.input(token_rows(c.hidden));
  const bool b = c.attention_bias;
  const auto [q, k, v] = d.linears(d.rms_norm(x, "attention_norm", eps), "attention_in",
                                   {{"q", query, b}, {"k", key_value, b}, {"v", key_value, b}});
  const Value mixed = d.attention(d.rope(q, rope), d.rope(k, rope), v, attention_of(c, layer));
  const Value attended = d.linear(mixed, "attention_out", {"o", c.hidden});
  x = d.add(x, norms_behind ? d.rms_norm(attended, "after_attention_norm", eps) : attended);
  const Value both = d.linear(d.rms_norm(x, "mlp_norm", eps), "mlp_in", {"gate_up", 2 * wide});
  const Value gate = d.slice(both, 0, wide), up = d.slice(both, wide, wide);
  const Value made = d.linear(d.multiply(d.silu(gate), up), "mlp_out", {"down", c.hidden});
  x = d.add(x, norms_behind ? d.rms_norm(made, "after_mlp_norm", eps) : made);
  return std::move(d).finish({x});
}

Graph draw_glm_layer(const ModelConfig& c, std::int64_t layer) { return draw_layer(c, layer, false); }
Graph draw_glm4_layer(const ModelConfig& c, std::int64_t layer) { return draw_layer(c, layer, true); }

// Pairs are neighbours, and the output of attention has no bias, whatever attention_bias says.
void set_common(ModelConfig& c) {
  c.rope.half_split = false;
  c.output_bias = false;
}
void read_huggingface(const HuggingFaceFields&, ModelConfig& c) { set_common(c); }
void read_gguf(const GgufKeys&, ModelConfig& c) { set_common(c); }
// The classes' own token may lie beyond the vocabulary.
void write_huggingface(const ModelConfig&, nlohmann::ordered_json& json) { json["pad_token_id"] = nullptr; }

// ChatGLM's own keys.
void read_chatglm(const HuggingFaceFields& fields, ModelConfig& c) {
  for (const char* const key : {"position_encoding_2d", "inner_hidden_size"})
    if (fields.find(key) != nullptr)
      fields.unsupported(fmt::format("the first ChatGLM is another network, which cannot be run; {}", key));
  const auto require = [&](const char* key, bool usual) {
    if (fields.boolean(key, usual) != usual)
      fields.unsupported(fmt::format("{} other than {} cannot be run", key, usual));
  };
  require("rmsnorm", true);
  require("post_layer_norm", true);
  require("add_bias_linear", false);
  require("apply_residual_connection_post_layernorm", false);
  if (fields.integer("pre_seq_len", 0) != 0)
    fields.unsupported("a trained prefix cannot be run; pre_seq_len must be null");
  require("original_rope", true);
  if (!fields.boolean("multi_query_attention", false))
    fields.unsupported("q, k and v of one head after another cannot be run; multi_query_attention must be true");
  const double ratio = fields.number("rope_ratio", 1);
  if (!(ratio > 0)) fields.wrong("rope_ratio", "a number above 0", ratio);
  c.rope.base = 10000 * ratio;
}

HfVariant chatglm_variant() {
  return {.model_type = "chatglm",
          .class_name = "ChatGLMModel",
          .default_vocab = 65024,
          .default_kv_heads = 1,
          .default_head_dim = 128,
          .default_context = 2048,
          .default_norm_epsilon = 1e-5,
          .default_rotary_part = 0.5,
          .other_class_name = "ChatGLMForConditionalGeneration",
          .own_keys = {{"vocab_size", "padded_vocab_size"},
                       {"intermediate_size", "ffn_hidden_size"},
                       {"num_hidden_layers", "num_layers"},
                       {"num_key_value_heads", "multi_query_group_num"},
                       {"head_dim", "kv_channels"},
                       {"max_position_embeddings", "seq_length"},
                       {"rms_norm_eps", "layernorm_epsilon"},
                       {"attention_bias", "add_qkv_bias"}},
          .read_own = read_chatglm};
}

// What ChatGLM calls the parts.
void add_chatglm_names(std::vector<TensorName>& names) {
  constexpr std::pair<std::string_view, std::string_view> kNames[] = {
      {"embedding", "transformer.embedding.word_embeddings.weight"},
      {"attention_norm", "transformer.encoder.layers.{}.input_layernorm.weight"},
      {"q", "transformer.encoder.layers.{}.self_attention.query_key_value.weight"},
      {"k", "transformer.encoder.layers.{}.self_attention.query_key_value.weight"},
      {"v", "transformer.encoder.layers.{}.self_attention.query_key_value.weight"},
      {"q.bias", "transformer.encoder.layers.{}.self_attention.query_key_value.bias"},
      {"k.bias", "transformer.encoder.layers.{}.self_attention.query_key_value.bias"},
      {"v.bias", "transformer.encoder.layers.{}.self_attention.query_key_value.bias"},
      {"o", "transformer.encoder.layers.{}.self_attention.dense.weight"},
      {"mlp_norm", "transformer.encoder.layers.{}.post_attention_layernorm.weight"},
      {"gate_up", "transformer.encoder.layers.{}.mlp.dense_h_to_4h.weight"},
      {"down", "transformer.encoder.layers.{}.mlp.dense_4h_to_h.weight"},
      {"final_norm", "transformer.encoder.final_layernorm.weight"},
      {"head", "transformer.output_layer.weight"},
  };
  for (const auto& [part, name] : kNames) std::ranges::find(names, part, &TensorName::part)->hf_stack = name;
}

void write_glm_gguf(const ModelConfig& c, const std::string&, GgufMetadata&) {
  if (c.heads * c.head_dim != c.hidden)
    throw Error(ErrorKind::unsupported,
                fmt::format("llama.cpp reads no file of this family whose heads are not as wide as the model together; "
                            "write a directory instead: {} heads of {}, width {}",
                            c.heads, c.head_dim, c.hidden));
}

std::vector<TensorName> tensor_names(bool norms_behind) {
  std::vector<TensorName> names = dense_decoder_names();
  const auto at = [&](std::string_view part) { return std::ranges::find(names, part, &TensorName::part); };
  for (const std::string_view part : {"o.bias", "gate", "up", "gate.bias", "up.bias", "down.bias"})
    names.erase(at(part));
  names.insert(at("down"), {"gate_up", "model.layers.{}.mlp.gate_up_proj.weight", "blk.{}.ffn_up.weight"});
  if (norms_behind) {
    names.insert(at("mlp_norm"), {"after_attention_norm", "model.layers.{}.post_self_attn_layernorm.weight",
                                  "blk.{}.post_attention_norm.weight"});
    names.insert(at("final_norm"),
                 {"after_mlp_norm", "model.layers.{}.post_mlp_layernorm.weight", "blk.{}.post_ffw_norm.weight"});
  }
  return names;
}

Architecture common_architecture(std::string_view type, std::string_view class_name, bool norms_behind) {
  Architecture a;
  a.name = type;
  a.rotates_partly = true;
  a.variants = {{.model_type = type,
                 .class_name = class_name,
                 .default_kv_heads = 2,
                 .default_head_dim = 128,
                 .default_context = 131072,
                 .default_norm_epsilon = 1.5625e-7,
                 .default_rotary_part = 0.5,
                 .default_attention_bias = true}};
  a.names = tensor_names(norms_behind);
  a.read_huggingface = read_huggingface;
  a.write_huggingface = write_huggingface;
  a.read_gguf = read_gguf;
  a.draw_begin = draw_embedding;
  a.draw_end = draw_head;
  return a;
}

}  // namespace

Architecture glm_architecture() {
  Architecture a = common_architecture("glm", "GlmForCausalLM", false);
  a.variants.push_back(chatglm_variant());
  add_chatglm_names(a.names);
  a.title = "ChatGLM 2, ChatGLM 3, GLM-4";
  a.gguf_name = "chatglm";
  a.write_gguf = write_glm_gguf;
  a.draw_layer = draw_glm_layer;
  return a;
}

Architecture glm4_architecture() {
  Architecture a = common_architecture("glm4", "Glm4ForCausalLM", true);
  a.title = "GLM-4-0414";
  a.gguf_name = "glm4";
  a.draw_layer = draw_glm4_layer;
  return a;
}

}  // namespace nibble
