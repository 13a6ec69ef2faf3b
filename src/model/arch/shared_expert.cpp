// SPDX-License-Identifier: Apache-2.0
#include "model/arch/shared_expert.h"

#include <fmt/format.h>

#include "model/arch/dense_decoder.h"

namespace nibble {

constexpr std::string_view kWidthKey = "expert_shared_feed_forward_length";

Value draw_shared_expert(Drawing& d, Value h, const ModelConfig& c) {
  const auto [gate, up] =
      d.linears(h, "mlp_in", {{"shared_gate", c.shared_intermediate}, {"shared_up", c.shared_intermediate}});
  return d.linear(d.multiply(d.silu(gate), up), "shared_out", {"shared_down", c.hidden});
}

Value draw_gated_shared_expert(Drawing& d, Value h, const ModelConfig& c) {
  const auto [gate, up, router] = d.linears(h, "mlp_in",
                                            {{"shared_gate", c.shared_intermediate},
                                             {"shared_up", c.shared_intermediate},
                                             {"shared_router", 1, false, TensorRole::router}});
  const Value shared = d.linear(d.multiply(d.silu(gate), up), "shared_out", {"shared_down", c.hidden});
  return d.scale_tokens(shared, d.sigmoid(router));
}

Value draw_deepseek_mixture(Drawing& d, Value h, const ModelConfig& c, std::int64_t layer) {
  if (!c.has_experts(layer)) return draw_unbiased_mlp(d, h, c);
  if (c.shared_intermediate == 0) return draw_experts(d, h, c);
  const Value shared = draw_shared_expert(d, h, c);
  return d.add(draw_experts(d, h, c), shared);
}

std::vector<TensorName> deepseek_mixture_names() {
  std::vector<TensorName> names = shared_expert_names("model.layers.{}.mlp.shared_experts.gate_proj.weight",
                                                      "model.layers.{}.mlp.shared_experts.up_proj.weight",
                                                      "model.layers.{}.mlp.shared_experts.down_proj.weight");
  const std::vector<TensorName> experts = mlp_expert_names();
  names.insert(names.end(), experts.begin(), experts.end());
  names.push_back({"router_correction", "model.layers.{}.mlp.gate.e_score_correction_bias", "blk.{}.exp_probs_b.bias"});
  return names;
}

std::vector<TensorName> shared_expert_names(std::string_view gate, std::string_view up, std::string_view down) {
  return {{"shared_gate", gate, "blk.{}.ffn_gate_shexp.weight"},
          {"shared_up", up, "blk.{}.ffn_up_shexp.weight"},
          {"shared_down", down, "blk.{}.ffn_down_shexp.weight"}};
}

std::vector<TensorName> gated_shared_expert_names() {
  std::vector<TensorName> names = shared_expert_names("model.layers.{}.mlp.shared_expert.gate_proj.weight",
                                                      "model.layers.{}.mlp.shared_expert.up_proj.weight",
                                                      "model.layers.{}.mlp.shared_expert.down_proj.weight");
  names.insert(names.begin(),
               {"shared_router", "model.layers.{}.mlp.shared_expert_gate.weight", "blk.{}.ffn_gate_inp_shexp.weight"});
  return names;
}

void write_shared_width(const ModelConfig& c, const std::string& prefix, GgufMetadata& metadata) {
  if (c.shared_intermediate != 0)
    metadata.set(prefix + std::string(kWidthKey), GgufValue::of_u32(static_cast<std::uint32_t>(c.shared_intermediate)));
}

std::uint64_t read_shared_width(const GgufKeys& keys) {
  const std::uint64_t width = keys.integer(kWidthKey).value_or(0);
  if (width > kMostSharedWidth) keys.wrong(kWidthKey, fmt::format("must be at most {}: {}", kMostSharedWidth, width));
  return width;
}

}  // namespace nibble
