// SPDX-License-Identifier: Apache-2.0
#include "pipeline/export/onnx/genai_config.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "io/json_text.h"
#include "pipeline/export/onnx/decoder_drawing.h"

namespace nibble {
namespace {

using Json = nlohmann::ordered_json;

// Decoders that GenAI knows by this name; it runs all of them alike.
constexpr std::array<std::string_view, 11> kKnownTypes = {
    "llama", "mistral", "qwen2", "qwen3", "phi3", "gemma", "gemma2", "gemma3_text", "granite", "smollm3", "chatglm"};

std::string genai_type(const Json& config) {
  const std::string type = config.value("model_type", "");
  return std::ranges::find(kKnownTypes, type) != kKnownTypes.end() ? type : "llama";
}

// From the first that says it; null: none does.
Json first_of(const Json& a, const Json& b, const char* key) {
  for (const Json* const json : {&a, &b})
    if (const auto found = json->find(key); found != json->end() && !found->is_null()) return *found;
  return {};
}

}  // namespace

std::string genai_config(const SourceModel& source, const std::string& config_json) {
  const ModelConfig& c = source.config();
  const Json config = parse_json(config_json, "config.json");
  Json generation = Json::object();
  if (source.spelling() == Spelling::huggingface)
    if (const auto text = source.read_side_file("generation_config.json"))
      generation = parse_json(*text, (source.path() / "generation_config.json").string());
  const Json end = first_of(generation, config, "eos_token_id");
  Json padding = first_of(generation, config, "pad_token_id");
  if (padding.is_null()) padding = end.is_array() && !end.empty() ? end.front() : end;

  Json decoder = {
      {"session_options", {{"log_id", "onnxruntime-genai"}, {"provider_options", Json::array()}}},
      {"filename", "model.onnx"},
      {"head_size", c.head_dim},
      {"hidden_size", c.hidden},
      {"inputs",
       {{"input_ids", "input_ids"},
        {"attention_mask", "attention_mask"},
        {"past_key_names", "past_key_values.%d.key"},
        {"past_value_names", "past_key_values.%d.value"}}},
      {"outputs",
       {{"logits", "logits"}, {"present_key_names", "present.%d.key"}, {"present_value_names", "present.%d.value"}}},
      {"num_attention_heads", c.heads},
      {"num_hidden_layers", c.layers},
      {"num_key_value_heads", c.kv_heads}};
  Json model;
  if (const Json begin = first_of(generation, config, "bos_token_id"); !begin.is_null()) model["bos_token_id"] = begin;
  model["context_length"] = exported_context(c);
  model["decoder"] = std::move(decoder);
  if (!end.is_null()) model["eos_token_id"] = end;
  if (!padding.is_null()) model["pad_token_id"] = padding;
  model["type"] = genai_type(config);
  model["vocab_size"] = c.vocab_size;

  Json search = {{"diversity_penalty", 0.0},
                 {"do_sample", false},
                 {"early_stopping", true},
                 {"length_penalty", 1.0},
                 {"max_length", exported_context(c)},
                 {"min_length", 0},
                 {"no_repeat_ngram_size", 0},
                 {"num_beams", 1},
                 {"num_return_sequences", 1},
                 {"past_present_share_buffer", true},
                 {"repetition_penalty", 1.0},
                 {"temperature", 1.0},
                 {"top_k", 50},
                 {"top_p", 1.0}};
  for (const char* const key : {"do_sample", "repetition_penalty", "temperature", "top_k", "top_p"})
    if (const auto own = generation.find(key); own != generation.end() && !own->is_null()) search[key] = *own;
  return dump_json({{"model", std::move(model)}, {"search", std::move(search)}}, 2) + "\n";
}

}  // namespace nibble
