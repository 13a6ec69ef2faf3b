// SPDX-License-Identifier: Apache-2.0
//
// An expert beside those that a router chooses among, which sees every token (Dai et al. 2024): a SwiGLU of
// ModelConfig::shared_intermediate channels.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "graph/drawing.h"
#include "model/arch/architecture.h"

namespace nibble {

inline constexpr std::uint64_t kMostSharedWidth = 1 << 20;

Value draw_shared_expert(Drawing& d, Value h, const ModelConfig& config);
// Times a sigmoid of a number that each token has.
Value draw_gated_shared_expert(Drawing& d, Value h, const ModelConfig& config);

// In the manner of DeepSeek: the experts that a token is sent to, and beside them those that see every token, which are
// one MLP as wide as they are together; SwiGLU in layers without experts. No biases.
Value draw_deepseek_mixture(Drawing& d, Value h, const ModelConfig& config, std::int64_t layer);
// What that has, and a router's correction.
std::vector<TensorName> deepseek_mixture_names();

// The names of its matrices, from Hugging Face's: gate, up and down, in this order.
std::vector<TensorName> shared_expert_names(std::string_view gate, std::string_view up, std::string_view down);
// Those of the gated one, as Qwen's directories have them.
std::vector<TensorName> gated_shared_expert_names();

// GGUF's key for its width, where there is one.
void write_shared_width(const ModelConfig& config, const std::string& prefix, GgufMetadata& metadata);
// 0: the file says nothing, which some families do not allow. Error(corrupt): no width that a model has.
std::uint64_t read_shared_width(const GgufKeys& keys);

}  // namespace nibble
