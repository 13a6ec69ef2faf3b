// SPDX-License-Identifier: Apache-2.0
//
// Llama (Touvron et al. 2023) and Mistral, which is the same network with a sliding window. GGUF files of both say "llama".
#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"

namespace nibble {

Architecture llama_architecture() {
  Architecture a;
  a.name = a.gguf_name = "llama";
  a.gguf_interleaved_rotary = a.gguf_longrope = true;
  a.variants = {
      {.model_type = "llama", .class_name = "LlamaForCausalLM", .default_context = 2048},
      {.model_type = "mistral", .class_name = "MistralForCausalLM", .default_kv_heads = 8, .default_context = 131072, .default_sliding_window = 4096},
  };
  a.names = dense_decoder_names();
  a.draw_begin = draw_embedding;
  a.draw_layer = draw_dense_layer;
  a.draw_end = draw_head;
  return a;
}

}  // namespace nibble
