// SPDX-License-Identifier: Apache-2.0
//
// Qwen 2 and 2.5: Llama with biases on q, k and v that no configuration key announces, and rotary halves kept as they
// are in GGUF.
#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"

namespace nibble {

Architecture qwen2_architecture() {
  Architecture a;
  a.title = "Qwen 2, Qwen 2.5";
  a.name = a.gguf_name = "qwen2";
  a.gguf_qkv_bias = true;
  a.variants = {{.model_type = "qwen2",
                 .class_name = "Qwen2ForCausalLM",
                 .default_kv_heads = 32,
                 .default_context = 32768,
                 .default_sliding_window = 4096,
                 .window_needs_switch = true,
                 .always_qkv_bias = true}};
  a.names = dense_decoder_names();
  a.draw_begin = draw_embedding;
  a.draw_layer = draw_dense_layer;
  a.draw_end = draw_head;
  return a;
}

}  // namespace nibble
