// SPDX-License-Identifier: Apache-2.0
//
// BitNet b1.58 2B4T (Ma et al. 2025): Llama with squared ReLU at the gate and a norm more before the output of
// attention and before down. Its matrices are ternary, and inputs of theirs were rounded to 8 bits token by token when
// it was trained; both are said by how its files hold them (io/packing/bitnet.h), not by the drawing.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "graph/drawing.h"
#include "model/arch/all.h"
#include "model/arch/dense_decoder.h"
#include "nibble/error.h"

namespace nibble {
namespace {

Graph draw_layer(const ModelConfig& c, std::int64_t layer) {
  const std::uint64_t query = c.heads * c.head_dim, key_value = c.kv_heads * c.head_dim;
  const float eps = c.norm_epsilon;
  const Rope rope = rope_of(c, layer);

  Drawing d;
  Value x = d.input(token_rows(c.hidden));
  const bool b = c.attention_bias;
  const auto [q, k, v] = d.linears(d.rms_norm(x, "attention_norm", eps), "attention_in",
                                   {{"q", query, b}, {"k", key_value, b}, {"v", key_value, b}});
  const Value mixed = d.attention(d.rope(q, rope), d.rope(k, rope), v, attention_of(c, layer));
  x = d.add(x, d.linear(d.rms_norm(mixed, "attention_sub_norm", eps), "attention_out", {"o", c.hidden, c.output_bias}));
  const auto [gate, up] = d.linears(d.rms_norm(x, "mlp_norm", eps), "mlp_in",
                                    {{"gate", c.intermediate, c.mlp_bias}, {"up", c.intermediate, c.mlp_bias}});
  const Value made = d.rms_norm(d.multiply(d.squared_relu(gate), up), "mlp_sub_norm", eps);
  x = d.add(x, d.linear(made, "mlp_out", {"down", c.hidden, c.mlp_bias}));
  return std::move(d).finish({x});
}

std::vector<TensorName> names() {
  std::vector<TensorName> names = dense_decoder_names();
  const auto before = [&](std::string_view part, const TensorName& name) {
    names.insert(std::ranges::find(names, part, &TensorName::part), name);
  };
  before("mlp_norm",
         {"attention_sub_norm", "model.layers.{}.self_attn.attn_sub_norm.weight", "blk.{}.attn_sub_norm.weight"});
  before("final_norm", {"mlp_sub_norm", "model.layers.{}.mlp.ffn_sub_norm.weight", "blk.{}.ffn_sub_norm.weight"});
  return names;
}

void write_gguf(const ModelConfig& c, const std::string&, GgufMetadata&) {
  require_no_biases(c);
  if (!c.tied_embedding)
    throw Error(ErrorKind::unsupported,
                "llama.cpp reads no head beside the embedding in files of this family; write a directory instead");
}

}  // namespace

Architecture bitnet_architecture() {
  Architecture a;
  a.title = "BitNet b1.58 2B4T";
  a.name = a.gguf_name = "bitnet";
  a.activation = "relu2";
  a.llama_cpp_fault =
      "llama.cpp runs this family with SiLU where it was trained with squared ReLU, and so writes something else than "
      "here";
  a.variants = {{.model_type = "bitnet",
                 .class_name = "BitNetForCausalLM",
                 .default_kv_heads = 5,
                 .default_context = 2048,
                 .default_norm_epsilon = 1e-5,
                 .default_rope_base = 500000}};
  a.names = names();
  a.draw_begin = draw_embedding;
  a.draw_layer = draw_layer;
  a.draw_end = draw_head;
  a.write_huggingface = [](const ModelConfig&, nlohmann::ordered_json& json) { json["hidden_act"] = "relu2"; };
  a.write_gguf = write_gguf;
  return a;
}

}  // namespace nibble
