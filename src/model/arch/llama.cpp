// SPDX-License-Identifier: Apache-2.0
//
// Llama (Touvron et al. 2023), Mistral, which is the same network with a sliding window, and Mixtral (Jiang et al.
// 2024), which has experts in place of the MLP. GGUF files of all of them say "llama".
#include <algorithm>
#include <nlohmann/json.hpp>

#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"

namespace nibble {
namespace {

void write_expert_keys(const ModelConfig& c, nlohmann::ordered_json& json) {
  if (c.num_experts == 0) return;
  json["num_local_experts"] = c.num_experts;
  json["num_experts_per_tok"] = c.experts_used;
}

}  // namespace

Architecture llama_architecture() {
  Architecture a;
  a.title = "Llama 2 and 3, Mistral, Mixtral, and what is built like them";
  a.name = a.gguf_name = "llama";
  a.gguf_interleaved_rotary = a.gguf_longrope = true;
  a.variants = {
      {.model_type = "llama", .class_name = "LlamaForCausalLM", .default_context = 2048},
      {.model_type = "mistral",
       .class_name = "MistralForCausalLM",
       .wrapper_type = "mistral3",
       .wrapper_class = "Mistral3ForConditionalGeneration",
       .default_vocab = 32000,
       .default_hidden = 4096,
       .default_intermediate = 14336,
       .default_layers = 32,
       .default_heads = 32,
       .default_kv_heads = 8,
       .default_context = 131072,
       .default_sliding_window = 4096},
      {.model_type = "mixtral",
       .class_name = "MixtralForCausalLM",
       .default_kv_heads = 8,
       .default_context = 131072,
       .default_norm_epsilon = 1e-5,
       .reads_sliding_window = true,
       .default_rope_base = 1e6,
       .default_experts = 8,
       .default_experts_used = 2},
  };
  a.names = dense_decoder_names();
  std::vector<TensorName> experts = expert_names(
      "model.layers.{}.block_sparse_moe.gate.weight", "model.layers.{}.block_sparse_moe.experts.{}.w1.weight",
      "model.layers.{}.block_sparse_moe.experts.{}.w3.weight", "model.layers.{}.block_sparse_moe.experts.{}.w2.weight");
  experts[1].hf_own_stack = "model.layers.{}.block_sparse_moe.switch_mlp.gate_proj.weight";
  experts[2].hf_own_stack = "model.layers.{}.block_sparse_moe.switch_mlp.up_proj.weight";
  experts[3].hf_own_stack = "model.layers.{}.block_sparse_moe.switch_mlp.down_proj.weight";
  a.names.insert(std::ranges::find(a.names, "final_norm", &TensorName::part), experts.begin(), experts.end());
  a.write_huggingface = write_expert_keys;
  a.draw_begin = draw_embedding;
  a.draw_layer = draw_dense_layer;
  a.draw_end = draw_head;
  return a;
}

}  // namespace nibble
