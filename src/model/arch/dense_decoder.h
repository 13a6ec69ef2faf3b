// SPDX-License-Identifier: Apache-2.0
//
// What the dense pre-norm decoders with RMSNorm, grouped-query attention and SwiGLU have in common: Llama and those
// that follow it. Family files start from this and change what differs.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/drawing.h"
#include "model/arch/architecture.h"

namespace nibble {

std::vector<TensorName> dense_decoder_names();

// The operations with what the configuration says of them.
Rope rope_of(const ModelConfig& config, std::int64_t layer);
Route routing_of(const ModelConfig& config);
Attention attention_of(const ModelConfig& config, std::int64_t layer);
// down(activation(gate(h)) * up(h)) (Shazeer 2020): SwiGLU with Drawing::silu, GEGLU with Drawing::gelu.
Value draw_gated_mlp(Drawing& d, Value h, const ModelConfig& config, Value (Drawing::*activation)(Value));

// SwiGLU of families that have no biases there.
Value draw_unbiased_mlp(Drawing& d, Value h, const ModelConfig& config);

// The experts' SwiGLUs that a router sends each token to (Shazeer et al. 2017), weighted.
Value draw_experts(Drawing& d, Value h, const ModelConfig& config);
// SwiGLU, or experts where the layer has them.
Value draw_mlp(Drawing& d, Value h, const ModelConfig& config, std::int64_t layer);
// What GGUF files may hold in place of the stacks of gate and of up: an expert's up below its gate.
inline constexpr std::string_view kGgufGateUpStack = "blk.{}.ffn_gate_up_exps.weight";
// The names of a router and of its experts' matrices, from Hugging Face's.
std::vector<TensorName> expert_names(std::string_view router, std::string_view gate, std::string_view up,
                                     std::string_view down);
// As most families' directories have them: mlp.gate, mlp.experts.{}.gate_proj, up_proj and down_proj.
std::vector<TensorName> mlp_expert_names();

// Error(unsupported) where a configuration that is to be written as a GGUF file has biases, of families in which
// llama.cpp reads none.
void require_no_biases(const ModelConfig& config);
// The same where experts' weights are made to sum to 1, of families in which llama.cpp uses them as they are.
void require_plain_routing(const ModelConfig& config);

Graph draw_embedding(const ModelConfig& config);
// Grouped-query attention (Ainslie et al. 2023) of what the norm before it makes, and the projection behind it.
Value draw_dense_attention(Drawing& d, Value h, const ModelConfig& config, std::int64_t layer);
Graph draw_dense_layer(const ModelConfig& config, std::int64_t layer);
// Logits of what the final norm makes, under their soft cap where there is one.
Value draw_logits(Drawing& d, Value h, const ModelConfig& config);
Graph draw_head(const ModelConfig& config);

}  // namespace nibble
