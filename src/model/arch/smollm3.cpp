// SPDX-License-Identifier: Apache-2.0
//
// SmolLM 3 (Hugging Face 2025): Llama of which every fourth layer knows no positions (NoPE, Kazemnejad et al. 2023).
#include <nlohmann/json.hpp>

#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::uint64_t kUnturnedEvery = 4;  // of the class, and of llama.cpp whatever the file

std::vector<bool> usual_unturned(std::uint64_t layers, std::uint64_t every) {
  std::vector<bool> unturned(layers);
  for (std::uint64_t i = 0; i < layers; ++i) unturned[i] = (i + 1) % every == 0;
  return unturned;
}

// no_rope_layers has a 1 for every layer that positions turn.
void read_huggingface(const HuggingFaceFields& fields, ModelConfig& c) {
  if (fields.boolean("use_sliding_window", false))
    fields.unsupported("layers within a window cannot be run in this family; use_sliding_window");
  if (c.layers > kMaxLayers) return;  // judged later
  const std::uint64_t every = fields.integer("no_rope_layer_interval", kUnturnedEvery);
  if (every == 0) fields.wrong("no_rope_layer_interval", "at least 1", 0);
  c.unturned = usual_unturned(c.layers, every);
  const auto* const turned = fields.find("no_rope_layers");
  if (turned == nullptr) return;
  if (!turned->is_array() || turned->size() < c.layers)
    fields.wrong("no_rope_layers", "a list with a 0 or a 1 for every layer", *turned);
  for (std::uint64_t i = 0; i < c.layers; ++i) {
    const auto& flag = (*turned)[i];
    if (flag != 0 && flag != 1) fields.wrong("no_rope_layers", "a list of zeros and ones", *turned);
    c.unturned[i] = flag == 0;
  }
}

void read_gguf(const GgufKeys&, ModelConfig& c) {
  if (c.layers <= kMaxLayers) c.unturned = usual_unturned(c.layers, kUnturnedEvery);
}

void write_huggingface(const ModelConfig& c, nlohmann::ordered_json& json) {
  json["no_rope_layers"] = nlohmann::ordered_json::array();
  for (std::uint64_t i = 0; i < c.layers; ++i)
    json["no_rope_layers"].push_back(c.is_unturned(static_cast<std::int64_t>(i)) ? 0 : 1);
}

void write_gguf(const ModelConfig& c, const std::string&, GgufMetadata&) {
  require_no_biases(c);
  if (c.unturned != usual_unturned(c.layers, kUnturnedEvery))
    throw Error(
        ErrorKind::unsupported,
        "GGUF files of this family cannot say which layers know no positions, and llama.cpp takes every fourth; "
        "write a directory instead");
}

}  // namespace

Architecture smollm3_architecture() {
  Architecture a;
  a.title = "SmolLM 3";
  a.name = a.gguf_name = "smollm3";
  a.gguf_interleaved_rotary = true;
  a.variants = {{.model_type = "smollm3",
                 .class_name = "SmolLM3ForCausalLM",
                 .default_kv_heads = 4,
                 .default_context = 32768,
                 .default_rope_base = 2000000,
                 .default_tied = true}};
  a.names = dense_decoder_names();
  a.draw_begin = draw_embedding;
  a.draw_layer = draw_dense_layer;
  a.draw_end = draw_head;
  a.read_huggingface = read_huggingface;
  a.read_gguf = read_gguf;
  a.write_huggingface = write_huggingface;
  a.write_gguf = write_gguf;
  return a;
}

}  // namespace nibble
