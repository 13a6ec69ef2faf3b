// SPDX-License-Identifier: Apache-2.0
//
// ERNIE 4.5 (Baidu 2025), its dense models: Llama whose positions turn neighbouring channels, in both containers.
#include <nlohmann/json.hpp>

#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"

namespace nibble {
namespace {

void read_huggingface(const HuggingFaceFields& fields, ModelConfig& c) {
  c.rope.half_split = false;
  c.attention_bias = c.output_bias = c.mlp_bias = fields.boolean("use_bias", false);
}

void write_huggingface(const ModelConfig& c, nlohmann::ordered_json& json) {
  json.erase("attention_bias");
  json.erase("mlp_bias");
  json["use_bias"] = c.attention_bias;
}

}  // namespace

Architecture ernie45_architecture() {
  Architecture a;
  a.title = "ERNIE 4.5 without experts";
  a.name = "ernie45";
  a.gguf_name = "ernie4_5";
  a.variants = {{.model_type = "ernie4_5",
                 .class_name = "Ernie4_5ForCausalLM",
                 .default_kv_heads = 2,
                 .default_head_dim = 128,
                 .default_context = 131072,
                 .default_norm_epsilon = 1e-5,
                 .default_rope_base = 500000,
                 .default_tied = true,
                 .other_class_name = "Ernie4_5_ForCausalLM"}};
  a.names = dense_decoder_names();
  a.draw_begin = draw_embedding;
  a.draw_layer = draw_dense_layer;
  a.draw_end = draw_head;
  a.read_huggingface = read_huggingface;
  a.read_gguf = [](const GgufKeys&, ModelConfig& c) { c.rope.half_split = false; };
  a.write_huggingface = write_huggingface;
  a.write_gguf = [](const ModelConfig& c, const std::string&, GgufMetadata&) { require_no_biases(c); };
  return a;
}

}  // namespace nibble
