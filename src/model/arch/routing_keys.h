// SPDX-License-Identifier: Apache-2.0
//
// What configurations say of routers in the manner of DeepSeek: experts in groups, scores that are sigmoids,
// corrections that choose and do not weigh, experts that every token sees, first layers without any. Internal to
// model/.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "io/gguf/gguf_value.h"
#include "model/config.h"
#include "model/gguf_keys.h"
#include "model/huggingface_fields.h"

namespace nibble {

// Where config.json leaves its keys out.
struct RoutingDefaults {
  std::uint64_t shared_experts = 1, dense_layers = 1, groups = 1, groups_used = 1;
  bool normalizes = true;
  double factor = 1;
};

// n_shared_experts, first_k_dense_replace, n_group, topk_group, norm_topk_prob, routed_scaling_factor: of routers by
// sigmoids with a correction, of whose groups the two best experts count. Experts themselves are read before.
// Error(...) names the key of what no router can be.
void read_sigmoid_routing(const HuggingFaceFields& fields, const RoutingDefaults& usual, ModelConfig& config);
void write_sigmoid_routing(const ModelConfig& config, nlohmann::ordered_json& json);
// Of both kinds of routers: what weights are multiplied by, and that every layer behind the first ones has experts
// (moe_layer_freq).
void read_routing_factor(const HuggingFaceFields& fields, double usual, ModelConfig& config);
void refuse_layers_in_turn(const HuggingFaceFields& fields);
// n_shared_experts, which are one MLP as wide as they are together. Error(corrupt): wider than any model's.
void read_shared_experts(const HuggingFaceFields& fields, std::uint64_t usual, ModelConfig& config);
// Groups, which must share the experts evenly; of both kinds of routers.
void read_expert_groups(const HuggingFaceFields& fields, std::uint64_t groups, std::uint64_t groups_used,
                        ModelConfig& config);
// The first layers have one MLP in place of experts.
void set_leading_dense(ModelConfig& config, std::uint64_t layers);
// How many of them there are. Error(unsupported): other layers than the first have no experts.
std::uint64_t leading_dense(const ModelConfig& config);

// What expert_gating_func says.
inline constexpr std::uint64_t kSoftmaxFunction = 1, kSigmoidFunction = 2;
// expert_gating_func, expert_weights_norm, expert_weights_scale, expert_group_count, expert_group_used_count,
// expert_shared_count, leading_dense_block_count; corrections where the file has them. usual_function: where the file
// says none.
void read_gguf_routing(const GgufKeys& keys, std::uint64_t usual_function, ModelConfig& config);
void write_gguf_routing(const ModelConfig& config, const std::string& prefix, GgufMetadata& metadata);
// Families that read these own these keys.
inline constexpr std::string_view kGgufRoutingKeys[] = {
    "expert_shared_count", "expert_gating_func",        "expert_weights_scale", "expert_weights_norm",
    "expert_group_count",  "leading_dense_block_count", "nextn_predict_layers",
};

}  // namespace nibble
