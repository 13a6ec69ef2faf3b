// SPDX-License-Identifier: Apache-2.0
//
// What the dense pre-norm decoders with RMSNorm, grouped-query attention and SwiGLU have in common: Llama and those that follow it.
// Family files start from this and change what differs.
#pragma once

#include <cstdint>
#include <vector>

#include "graph/drawing.h"
#include "model/arch/architecture.h"

namespace nibble {

std::vector<TensorName> dense_decoder_names();

// The operations with what the configuration says of them.
Rope rope_of(const ModelConfig& config);
Attention attention_of(const ModelConfig& config);  // scaled by 1 / sqrt(head_dim)
// down(silu(gate(h)) * up(h)) (Shazeer 2020)
Value draw_swiglu(Drawing& d, Value h, const ModelConfig& config);

Graph draw_embedding(const ModelConfig& config);
Graph draw_dense_layer(const ModelConfig& config, std::int64_t layer);
Graph draw_head(const ModelConfig& config);

}  // namespace nibble
