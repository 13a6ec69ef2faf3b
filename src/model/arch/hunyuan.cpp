// SPDX-License-Identifier: Apache-2.0
//
// Hunyuan's dense models (Tencent 2025): Llama whose queries and keys are normed head by head once they have turned,
// and whose rotary base was grown once for longer texts.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "graph/drawing.h"
#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"

namespace nibble {
namespace {

Graph draw_layer(const ModelConfig& c, std::int64_t layer) {
  const std::uint64_t query = c.heads * c.head_dim, key_value = c.kv_heads * c.head_dim;
  const Rope rope = rope_of(c, layer);

  Drawing d;
  Value x = d.input(token_rows(c.hidden));
  const Value h = d.rms_norm(x, "attention_norm", c.norm_epsilon);
  const bool b = c.attention_bias;
  auto [q, k, v] = d.linears(h, "attention_in", {{"q", query, b}, {"k", key_value, b}, {"v", key_value, b}});
  q = d.rms_norm_heads(d.rope(q, rope), "q_norm", c.norm_epsilon, c.head_dim);
  k = d.rms_norm_heads(d.rope(k, rope), "k_norm", c.norm_epsilon, c.head_dim);
  x = d.add(x, d.linear(d.attention(q, k, v, attention_of(c, layer)), "attention_out", {"o", c.hidden, c.output_bias}));
  x = d.add(x, draw_mlp(d, d.rms_norm(x, "mlp_norm", c.norm_epsilon), c, layer));
  return std::move(d).finish({x});
}

std::vector<TensorName> names() {
  std::vector<TensorName> names = dense_decoder_names();
  names.insert(std::ranges::find(names, "mlp_norm", &TensorName::part),
               {{"q_norm", "model.layers.{}.self_attn.query_layernorm.weight", "blk.{}.attn_q_norm.weight"},
                {"k_norm", "model.layers.{}.self_attn.key_layernorm.weight", "blk.{}.attn_k_norm.weight"}});
  return names;
}

}  // namespace

Architecture hunyuan_architecture() {
  Architecture a;
  a.title = "Hunyuan without experts";
  a.name = "hunyuan";
  a.gguf_name = "hunyuan-dense";
  a.grows_base = true;
  a.variants = {{.model_type = "hunyuan_v1_dense",
                 .class_name = "HunYuanDenseV1ForCausalLM",
                 .default_context = 2048,
                 .default_norm_epsilon = 1e-5}};
  a.names = names();
  a.draw_begin = draw_embedding;
  a.draw_layer = draw_layer;
  a.draw_end = draw_head;
  a.write_gguf = [](const ModelConfig& c, const std::string&, GgufMetadata&) { require_no_biases(c); };
  return a;
}

}  // namespace nibble
