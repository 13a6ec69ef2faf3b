// SPDX-License-Identifier: Apache-2.0
#include "model/arch/routing_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "model/arch/shared_expert.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr float kSumOffset = 1e-20F;

bool is_sound_factor(double factor) { return factor > 1e-6 && factor < 1e6; }

// What keeps experts from being chosen by groups; empty: nothing.
std::string defect_of(const ModelConfig& c) {
  if (c.expert_groups == 0 || c.num_experts % c.expert_groups != 0)
    return fmt::format("groups must share the experts evenly: {} groups, {} experts", c.expert_groups, c.num_experts);
  if (c.expert_groups_used == 0 || c.expert_groups_used > c.expert_groups)
    return fmt::format("of the groups of experts 1 to {} must be used: {}", c.expert_groups, c.expert_groups_used);
  const std::uint64_t each = c.num_experts / c.expert_groups;
  if (c.experts_used > c.expert_groups_used * each)
    return fmt::format("the groups that are used must have the experts that are: {} groups of {} experts, {} used",
                       c.expert_groups_used, each, c.experts_used);
  if (c.expert_groups > 1 && c.groups_count_two && each < 2)
    return fmt::format("groups whose two best experts count must have two: {}", each);
  return {};
}

// What keeps so many experts of the others' width from being one MLP that every token sees; empty: nothing.
std::string shared_defect(std::uint64_t experts, const ModelConfig& c) {
  if (experts == 0 || (experts <= kMostSharedWidth && c.expert_intermediate <= kMostSharedWidth / experts)) return {};
  return fmt::format("experts that every token sees must have at most {} channels together: {} of {} channels",
                     kMostSharedWidth, experts, c.expert_intermediate);
}

}  // namespace

void set_leading_dense(ModelConfig& c, std::uint64_t layers) {
  c.dense.clear();
  if (layers == 0 || c.layers > kMaxLayers) return;
  c.dense.assign(c.layers, false);
  for (std::uint64_t i = 0; i < std::min(layers, c.layers); ++i) c.dense[i] = true;
}

std::uint64_t leading_dense(const ModelConfig& c) {
  const auto first = static_cast<std::uint64_t>(std::ranges::find(c.dense, false) - c.dense.begin());
  for (std::uint64_t i = first; i < c.dense.size(); ++i)
    if (c.dense[i])
      throw Error(ErrorKind::unsupported,
                  fmt::format("only the first layers of this family can be without experts; layer {} is", i));
  return first;
}

// --- config.json -----------------------------------------------------------------------------------------------------

void read_expert_groups(const HuggingFaceFields& fields, std::uint64_t groups, std::uint64_t groups_used,
                        ModelConfig& c) {
  c.expert_groups = fields.integer("n_group", groups);
  c.expert_groups_used = fields.integer("topk_group", groups_used);
  if (const std::string defect = defect_of(c); !defect.empty()) fields.contradicts(defect + "; n_group, topk_group");
}

void read_shared_experts(const HuggingFaceFields& fields, std::uint64_t usual, ModelConfig& c) {
  const std::uint64_t experts = fields.integer("n_shared_experts", usual);
  if (const std::string defect = shared_defect(experts, c); !defect.empty())
    fields.contradicts(defect + "; n_shared_experts, moe_intermediate_size");
  c.shared_intermediate = experts * c.expert_intermediate;
}

void read_routing_factor(const HuggingFaceFields& fields, double usual, ModelConfig& c) {
  const double factor = fields.number("routed_scaling_factor", usual);
  if (!is_sound_factor(factor)) fields.wrong("routed_scaling_factor", "positive", factor);
  c.routing_factor = static_cast<float>(factor);
}

void refuse_layers_in_turn(const HuggingFaceFields& fields) {
  if (fields.integer("moe_layer_freq", 1) != 1)
    fields.unsupported("layers that have experts in turn cannot be run in this family; moe_layer_freq must be 1");
}

void read_sigmoid_routing(const HuggingFaceFields& fields, const RoutingDefaults& usual, ModelConfig& c) {
  if (const std::string given = fields.string("scoring_func", "sigmoid"); given != "sigmoid")
    fields.unsupported("scoring_func must be sigmoid: " + given);
  if (const std::string given = fields.string("topk_method", "noaux_tc"); given != "noaux_tc")
    fields.unsupported("topk_method must be noaux_tc: " + given);
  refuse_layers_in_turn(fields);
  c.routes_by_sigmoid = c.corrects_routing = c.groups_count_two = true;
  c.routing_offset = kSumOffset;
  c.normalizes_routing = fields.boolean("norm_topk_prob", usual.normalizes);
  read_routing_factor(fields, usual.factor, c);
  read_shared_experts(fields, usual.shared_experts, c);
  set_leading_dense(c, fields.integer("first_k_dense_replace", usual.dense_layers));
  read_expert_groups(fields, usual.groups, usual.groups_used, c);
}

void write_sigmoid_routing(const ModelConfig& c, nlohmann::ordered_json& json) {
  json["n_routed_experts"] = c.num_experts;
  json["num_experts_per_tok"] = c.experts_used;
  json["moe_intermediate_size"] = c.expert_intermediate;
  json["n_shared_experts"] = c.shared_intermediate / c.expert_intermediate;
  json["first_k_dense_replace"] = leading_dense(c);
  json["n_group"] = c.expert_groups;
  json["topk_group"] = c.expert_groups_used;
  json["norm_topk_prob"] = c.normalizes_routing;
  json["routed_scaling_factor"] = shortest_decimal(c.routing_factor);
}

// --- GGUF ------------------------------------------------------------------------------------------------------------

void read_gguf_routing(const GgufKeys& keys, std::uint64_t usual_function, ModelConfig& c) {
  if (c.num_experts == 0) keys.missing("expert_count");
  std::uint64_t function = keys.integer("expert_gating_func").value_or(0);
  if (function == 0) function = usual_function;
  if (function != kSoftmaxFunction && function != kSigmoidFunction)
    keys.unsupported(fmt::format("experts can be scored by softmax (1) or sigmoid (2); {}: {}",
                                 keys.full("expert_gating_func"), function));
  c.routes_by_sigmoid = function == kSigmoidFunction;
  c.routing_offset = c.routes_by_sigmoid ? kSumOffset : 0;
  c.normalizes_routing = keys.flag_or_number("expert_weights_norm").value_or(0) != 0;
  const double factor = keys.number("expert_weights_scale").value_or(0);
  if (factor != 0 && !is_sound_factor(factor))
    keys.wrong("expert_weights_scale", fmt::format("must be positive: {}", factor));
  c.routing_factor = factor == 0 ? 1 : static_cast<float>(factor);
  c.expert_groups = std::max<std::uint64_t>(keys.integer("expert_group_count").value_or(1), 1);
  c.expert_groups_used = std::max<std::uint64_t>(keys.integer("expert_group_used_count").value_or(1), 1);
  c.groups_count_two = true;
  if (const std::string defect = defect_of(c); !defect.empty())
    keys.contradicts(defect + "; " + keys.full("expert_group_count"));
  const std::uint64_t shared = keys.integer("expert_shared_count").value_or(0);
  if (const std::string defect = shared_defect(shared, c); !defect.empty())
    keys.contradicts(defect + "; " + keys.full("expert_shared_count"));
  c.shared_intermediate = shared * c.expert_intermediate;
  if (c.layers > kMaxLayers) return;
  const std::uint64_t dense = keys.integer("leading_dense_block_count").value_or(0);
  set_leading_dense(c, dense);
  c.corrects_routing = dense < c.layers && keys.has_tensor(fmt::format("blk.{}.exp_probs_b.bias", dense));
}

void write_gguf_routing(const ModelConfig& c, const std::string& prefix, GgufMetadata& metadata) {
  if (c.expert_groups > 1 && !c.groups_count_two)
    throw Error(ErrorKind::unsupported,
                fmt::format("llama.cpp counts the two best experts of a group, this model the best; write a directory "
                            "instead: {} groups",
                            c.expert_groups));
  const auto count = [&](const char* key, std::uint64_t value) {
    metadata.set(prefix + key, GgufValue::of_u32(static_cast<std::uint32_t>(value)));
  };
  count("expert_shared_count", c.shared_intermediate / c.expert_intermediate);
  count("leading_dense_block_count", leading_dense(c));
  count("expert_gating_func", c.routes_by_sigmoid ? kSigmoidFunction : kSoftmaxFunction);
  count("expert_group_count", c.expert_groups);
  count("expert_group_used_count", c.expert_groups_used);
  metadata.set(prefix + "expert_weights_norm", GgufValue::of_bool(c.normalizes_routing));
  metadata.set(prefix + "expert_weights_scale", GgufValue::of_f32(c.routing_factor));
}

}  // namespace nibble
