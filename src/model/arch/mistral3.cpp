// SPDX-License-Identifier: Apache-2.0
//
// Ministral 3 (Mistral AI 2025): Llama with YaRN and queries that grow with their position. GGUF files of Mistral
// Small 3, which is Llama without either, say "mistral3", too; in Hugging Face's words it is a mistral.
#include <nlohmann/json.hpp>

#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"
#include "nibble/error.h"

namespace nibble {
namespace {

// What the class takes where config.json says nothing of positions.
void set_usual_positions(RopeConfig& rope) {
  rope.base = 1e6;
  rope.scaling = RopeScaling::yarn;
  rope.factor = 16;
  rope.original_context = 16384;
  rope.high_frequency_factor = kYarnFastTurns;
  rope.low_frequency_factor = kYarnSlowTurns;
  rope.magnitude = 1;
  rope.query_growth = 0.1f;
}

// Where queries do not grow it is a Llama, whose class takes every way of turning positions.
void name_family(ModelConfig& c) {
  if (c.rope.query_growth == 0) c.architecture = "llama";
}

void read_huggingface(const HuggingFaceFields& fields, ModelConfig& c) {
  const bool is_newer = fields.find("rope_parameters") != nullptr;
  if (!is_newer && fields.find("rope_scaling") == nullptr) return set_usual_positions(c.rope);
  const char* const group = is_newer ? "rope_parameters" : "rope_scaling";
  if (c.rope.scaling != RopeScaling::yarn && fields.object(group).number("llama_4_scaling_beta", 0) != 0)
    fields.unsupported(std::string("queries can only grow with their position where rope_type is yarn; ") + group +
                       ".llama_4_scaling_beta");
  name_family(c);
}

void write_huggingface(const ModelConfig& c, nlohmann::ordered_json& json) {
  nlohmann::ordered_json& words = json["rope_scaling"];
  words["rope_theta"] = json["rope_theta"];
  words["llama_4_scaling_beta"] = shortest_decimal(c.rope.query_growth);
  if (c.rope.magnitude == 1) {
    words.erase("attention_factor");
    words["mscale"] = words["mscale_all_dim"] = 1.0;
  }
  json["rope_parameters"] = words;
  json.erase("rope_scaling");
}

void read_gguf(const GgufKeys& keys, ModelConfig& c) {
  c.rope.query_growth = static_cast<float>(keys.number("attention.temperature_scale").value_or(0));
  if (c.rope.query_growth != 0 && c.rope.scaling != RopeScaling::yarn)
    keys.unsupported("queries can only grow with their position where positions are scaled by yarn; " +
                     keys.full("attention.temperature_scale"));
  name_family(c);
}

void write_gguf(const ModelConfig& c, const std::string& prefix, GgufMetadata& metadata) {
  if (c.rope.query_growth != 0)
    metadata.set(prefix + "attention.temperature_scale", GgufValue::of_f32(c.rope.query_growth));
}

}  // namespace

Architecture mistral3_architecture() {
  Architecture a;
  a.title = "Ministral 3; Mistral Small 3's text part";
  a.name = a.gguf_name = "mistral3";
  a.gguf_interleaved_rotary = a.grows_queries = a.gguf_yarn_keys = true;
  a.gguf_own_keys = {"attention.temperature_scale"};
  a.variants = {{.model_type = "ministral3",
                 .class_name = "Ministral3ForCausalLM",
                 .wrapper_type = "mistral3",
                 .wrapper_class = "Mistral3ForConditionalGeneration",
                 .default_vocab = 131072,
                 .default_hidden = 4096,
                 .default_intermediate = 14336,
                 .default_layers = 34,
                 .default_heads = 32,
                 .default_kv_heads = 8,
                 .default_head_dim = 128,
                 .default_context = 262144,
                 .default_norm_epsilon = 1e-5,
                 .reads_sliding_window = true}};
  a.names = dense_decoder_names();
  a.draw_begin = draw_embedding;
  a.draw_layer = draw_dense_layer;
  a.draw_end = draw_head;
  a.read_huggingface = read_huggingface;
  a.write_huggingface = write_huggingface;
  a.read_gguf = read_gguf;
  a.write_gguf = write_gguf;
  return a;
}

}  // namespace nibble
