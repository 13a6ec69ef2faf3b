// SPDX-License-Identifier: Apache-2.0
//
// Small layers of many kinds with random weights, and what runs programs that were made of them.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "engine/program.h"
#include "graph/drawing.h"
#include "kernels/chosen_isa.h"

namespace nibble {

inline constexpr std::size_t kTokens = 5;
inline constexpr std::uint64_t kHidden = 16, kWide = 24;

struct LayerPen {
  Drawing d;
  Value x = d.input(token_rows(kHidden));

  Value attention(Value h, std::uint64_t window = 0, float soft_cap = 0) {
    const Rope rope{.head_dim = 4, .frequencies = {1, 0.25}};
    const auto [q, k, v] = d.linears(h, "attention_in", {{"q", 16, true}, {"k", 8}, {"v", 8}});
    const Value normed = d.rms_norm_heads(q, "q_norm", 1e-5F, 4);
    const Value mixed =
        d.attention(d.rope(normed, rope), d.rope(k, rope), v,
                    {.heads = 4, .kv_heads = 2, .head_dim = 4, .scale = 0.5F, .window = window, .soft_cap = soft_cap});
    return d.linear(mixed, "attention_out", {"o", kHidden});
  }
  Value mlp(Value h, Value (Drawing::*activation)(Value) = &Drawing::silu) {
    const auto [gate, up] = d.linears(h, "mlp_in", {{"gate", kWide}, {"up", kWide}});
    return d.linear(d.multiply((d.*activation)(gate), up), "mlp_out", {"down", kHidden});
  }
  Value norm(Value value, const std::string& part) { return d.rms_norm(value, part, 1e-5F); }
  Graph finish(Value y) { return std::move(d).finish({y}); }
};

struct DrawnLayer {
  std::string name;
  Graph graph;
};

// The usual one first.
inline std::vector<DrawnLayer> drawn_layers() {
  std::vector<DrawnLayer> layers;
  const auto add = [&](const std::string& name, auto draw) {
    LayerPen pen;
    const Value y = draw(pen);
    layers.push_back({name, pen.finish(y)});
  };
  add("pre_norm", [](LayerPen& p) {
    const Value x = p.d.add(p.x, p.attention(p.norm(p.x, "attention_norm")));
    return p.d.add(x, p.mlp(p.norm(x, "mlp_norm")));
  });
  add("squared_relu", [](LayerPen& p) {
    const Value x = p.d.add(p.x, p.attention(p.norm(p.x, "attention_norm")));
    return p.d.add(x, p.mlp(p.norm(x, "mlp_norm"), &Drawing::squared_relu));
  });
  // Of two values of which neither is activated: either dies, both do, none does.
  add("products", [](LayerPen& p) {
    const Value all = p.d.linear(p.norm(p.x, "norm"), "in", {"all", 3 * kHidden});
    const Value a = p.d.slice(all, 0, kHidden), b = p.d.slice(all, kHidden, kHidden),
                c = p.d.slice(all, 2 * kHidden, kHidden);
    const Value ab = p.d.multiply(a, b), abc = p.d.multiply(c, ab), of_x = p.d.multiply(p.x, ab);
    return p.d.add(p.x, p.d.add(p.d.multiply(of_x, of_x), abc));
  });
  add("stream_second", [](LayerPen& p) {
    const Value x = p.d.add(p.attention(p.norm(p.x, "attention_norm")), p.x);
    return p.d.add(p.mlp(p.norm(x, "mlp_norm")), x);
  });
  add("sandwich", [](LayerPen& p) {
    const Value x = p.d.add(p.x, p.norm(p.attention(p.norm(p.x, "attention_norm")), "after_attention"));
    return p.d.add(x, p.norm(p.mlp(p.norm(x, "mlp_norm")), "after_mlp"));
  });
  add("within_a_window_and_under_caps", [](LayerPen& p) {
    const Value x = p.d.add(p.x, p.d.scale(p.attention(p.norm(p.x, "attention_norm"), 2, 0.7F), 3));
    return p.d.add(x, p.d.soft_cap(p.mlp(p.norm(x, "mlp_norm"), &Drawing::gelu), 1.5F));
  });
  add("matrices_in_one", [](LayerPen& p) {
    const Rope rope{
        .head_dim = 4, .frequencies = {1}, .magnitude = 1.5F, .long_frequencies = {0.5}, .short_length = kTokens - 1};
    const Value qkv = p.d.linear(p.norm(p.x, "attention_norm"), "attention_in", {"qkv", 32});
    const Value q = p.d.slice(qkv, 0, 16), k = p.d.slice(qkv, 16, 8), v = p.d.slice(qkv, 24, 8);
    const Value mixed = p.d.attention(p.d.rope(q, rope), p.d.rope(k, rope), v,
                                      {.heads = 4, .kv_heads = 2, .head_dim = 4, .scale = 0.5F});
    const Value x = p.d.add(p.x, p.d.linear(mixed, "attention_out", {"o", kHidden}));
    const Value both = p.d.linear(p.norm(x, "mlp_norm"), "mlp_in", {"gate_up", 2 * kWide});
    const Value gate = p.d.slice(both, 0, kWide), up = p.d.slice(both, kWide, kWide);
    return p.d.add(x, p.d.linear(p.d.multiply(p.d.silu(gate), up), "mlp_out", {"down", kHidden}));
  });
  for (const bool normalizes : {true, false})
    add(normalizes ? "experts" : "experts_as_weighted", [normalizes](LayerPen& p) {
      const Value h = p.norm(p.x, "mlp_norm");
      const Value routing = p.d.route(p.d.linear(h, "mlp_in", {"router", 4, false, TensorRole::router}),
                                      {.used = 2, .normalizes = normalizes});
      const Value gate = p.d.expert_linear(h, routing, "experts_in", "gate", kWide),
                  up = p.d.expert_linear(h, routing, "experts_in", "up", kWide);
      const Value y = p.d.expert_linear(p.d.multiply(p.d.silu(gate), up), routing, "experts_out", "down", kHidden);
      return p.d.add(p.x, p.d.mix_experts(y, routing));
    });
  add("experts_within_groups", [](LayerPen& p) {
    const Value h = p.norm(p.x, "mlp_norm");
    const Value routing =
        p.d.route(p.d.linear(h, "mlp_in", {"router", 6, false, TensorRole::router}), {.used = 3,
                                                                                      .score = Route::Score::sigmoid,
                                                                                      .correction = "router_correction",
                                                                                      .groups = 3,
                                                                                      .groups_used = 2,
                                                                                      .factor = 1.8F,
                                                                                      .sum_offset = 1e-20F});
    const Value gate = p.d.expert_linear(h, routing, "experts_in", "gate", kWide),
                up = p.d.expert_linear(h, routing, "experts_in", "up", kWide);
    const Value y = p.d.expert_linear(p.d.multiply(p.d.silu(gate), up), routing, "experts_out", "down", kHidden);
    return p.d.add(p.x, p.d.mix_experts(y, routing));
  });
  // Linears that read what experts do are made with the router before these; their input must outlive that.
  add("a_shared_expert_behind_the_others", [](LayerPen& p) {
    const Value h = p.norm(p.x, "mlp_norm");
    const Value routing = p.d.route(p.d.linear(h, "mlp_in", {"router", 4, false, TensorRole::router}), {.used = 2});
    const Value gate = p.d.expert_linear(h, routing, "experts_in", "gate", kWide),
                up = p.d.expert_linear(h, routing, "experts_in", "up", kWide);
    const Value y = p.d.expert_linear(p.d.multiply(p.d.silu(gate), up), routing, "experts_out", "down", kHidden);
    const Value mixed = p.d.mix_experts(y, routing);
    const auto [shared_gate, shared_up] = p.d.linears(h, "mlp_in", {{"shared_gate", kWide}, {"shared_up", kWide}});
    const Value shared =
        p.d.linear(p.d.multiply(p.d.silu(shared_gate), shared_up), "shared_out", {"shared_down", kHidden});
    return p.d.add(p.x, p.d.add(mixed, shared));
  });
  for (const bool tiles : {false, true})
    add(tiles ? "recurrent_with_tiled_heads" : "recurrent", [tiles](LayerPen& p) {
      constexpr std::uint64_t kKeys = 2 * 4, kValues = 4 * 3;
      const auto [qkv, z, b, a] = p.d.linears(p.norm(p.x, "norm"), "delta_in",
                                              {{"qkv", 2 * kKeys + kValues}, {"z", kValues}, {"b", 4}, {"a", 4}});
      const Value mixed = p.d.silu(p.d.causal_convolution(qkv, "taps", 3));
      const Value q = p.d.l2_norm_heads(p.d.slice(mixed, 0, kKeys), 1e-6F, 4),
                  k = p.d.l2_norm_heads(p.d.slice(mixed, kKeys, kKeys), 1e-6F, 4),
                  v = p.d.slice(mixed, 2 * kKeys, kValues);
      const Value y = p.d.gated_delta_rule({q, k, v, a, b}, {.rate = "rate",
                                                             .bias = "step",
                                                             .key_heads = 2,
                                                             .heads = 4,
                                                             .key_dim = 4,
                                                             .value_dim = 3,
                                                             .scale = 0.5F,
                                                             .tiles_heads = tiles});
      const Value gated = p.d.multiply(p.d.rms_norm_heads(y, "delta_norm", 1e-5F, 3), p.d.silu(z));
      const Value x = p.d.add(p.x, p.d.linear(gated, "delta_out", {"out", kHidden}));
      return p.d.add(x, p.mlp(p.norm(x, "mlp_norm")));
    });
  for (const bool has_latent : {false, true})
    add(has_latent ? "latent_attention_of_latent_queries" : "latent_attention", [has_latent](LayerPen& p) {
      const LatentAttention op{.heads = 2, .key_dim = 3, .rotary_dim = 4, .value_dim = 5, .latent = 6, .scale = 0.4F};
      const Rope rope{.head_dim = 4, .frequencies = {1, 0.25}, .half_split = false};
      const auto [a, kept] = p.d.linears(p.norm(p.x, "norm"), "attention_in", {{"q_a", 14}, {"kv_a", 10}});
      const Value q = has_latent ? p.d.linear(p.norm(a, "q_norm"), "queries_in", {"q_b", 14}) : a;
      const Value latent = p.norm(p.d.slice(kept, 0, 6), "latent_norm"), turned = p.d.rope(p.d.slice(kept, 6, 4), rope);
      const Value keys_values = p.d.linear(latent, "latent_in", {"kv_b", 16});
      const Value mixed = p.d.latent_attention(
          {p.d.slice_heads(q, 7, 0, 3), p.d.rope(p.d.slice_heads(q, 7, 3, 4), rope), keys_values, turned}, op);
      const Value x = p.d.add(p.x, p.d.linear(mixed, "attention_out", {"o", kHidden}));
      return p.d.add(x, p.mlp(p.norm(x, "mlp_norm")));
    });
  add("gated_attention", [](LayerPen& p) {
    const auto [both, k, v] = p.d.linears(p.norm(p.x, "norm"), "attention_in", {{"q", 32}, {"k", 8}, {"v", 8}});
    const Value mixed =
        p.d.attention(p.d.slice_heads(both, 8, 0, 4), k, v, {.heads = 4, .kv_heads = 2, .head_dim = 4, .scale = 0.5F});
    const Value gated = p.d.multiply(mixed, p.d.sigmoid(p.d.slice_heads(both, 8, 4, 4)));
    return p.d.add(p.x, p.d.linear(gated, "attention_out", {"o", kHidden}));
  });
  add("experts_with_biases_and_sinks", [](LayerPen& p) {
    const auto [q, k, v] = p.d.linears(p.norm(p.x, "attention_norm"), "attention_in", {{"q", 16}, {"k", 8}, {"v", 8}});
    const Value mixed = p.d.attention(
        q, k, v, {.heads = 4, .kv_heads = 2, .head_dim = 4, .scale = 0.5F, .window = 3, .sinks = "sinks"});
    const Value x = p.d.add(p.x, p.d.linear(mixed, "attention_out", {"o", kHidden, true}));
    const Value h = p.norm(x, "mlp_norm");
    const Value routing = p.d.route(p.d.linear(h, "mlp_in", {"router", 4, true, TensorRole::router}), {.used = 2});
    const Value gate = p.d.expert_linear(h, routing, "experts_in", "gate", kWide, true),
                up = p.d.expert_linear(h, routing, "experts_in", "up", kWide, true);
    const Value made = p.d.clamped_swiglu(gate, up, {.alpha = 1.702F, .limit = 2});
    const Value y = p.d.expert_linear(made, routing, "experts_out", "down", kHidden, true);
    return p.d.add(x, p.d.mix_experts(y, routing));
  });
  add("gated_experts_with_biases", [](LayerPen& p) {
    const Value h = p.norm(p.x, "mlp_norm");
    const Value routing = p.d.route(p.d.linear(h, "mlp_in", {"router", 4, false, TensorRole::router}), {.used = 2});
    const Value gate = p.d.expert_linear(h, routing, "experts_in", "gate", kWide, true),
                up = p.d.expert_linear(h, routing, "experts_in", "up", kWide, true);
    const Value y = p.d.expert_linear(p.d.multiply(p.d.silu(gate), up), routing, "experts_out", "down", kHidden);
    return p.d.add(p.x, p.d.mix_experts(y, routing));
  });
  add("gained", [](LayerPen& p) {
    const Value h = p.d.add(p.x, p.mlp(p.norm(p.x, "mlp_norm")));
    return p.d.gain(p.d.add(h, p.d.gain(p.attention(p.norm(h, "attention_norm")), "inner_gain")), "gain");
  });
  add("experts_times_their_own_numbers", [](LayerPen& p) {
    const Value h = p.norm(p.x, "mlp_norm");
    const Value routing =
        p.d.route(p.d.linear(h, "mlp_in", {"router", 4, false, TensorRole::router}), {.used = 2, .scales = "scales"});
    const Value up = p.d.expert_linear(h, routing, "experts_in", "up", kWide);
    return p.d.add(p.x, p.d.mix_experts(p.d.expert_linear(up, routing, "experts_out", "down", kHidden), routing));
  });
  add("keys_are_values", [](LayerPen& p) {
    const auto [q, k] = p.d.linears(p.norm(p.x, "norm"), "attention_in", {{"q", 16}, {"k", 8}});
    const Value v = p.d.scale(p.d.l2_norm_heads(k, 1e-5F, 4), 2), turned = p.d.rms_norm_heads(k, "k_norm", 1e-5F, 4);
    const Value mixed = p.d.attention(q, turned, v, {.heads = 4, .kv_heads = 2, .head_dim = 4});
    return p.d.add(p.x, p.d.linear(mixed, "attention_out", {"o", kHidden}));
  });
  add("clamped_gate", [](LayerPen& p) {
    const auto [gate, up] = p.d.linears(p.norm(p.x, "mlp_norm"), "mlp_in", {{"gate", kHidden}, {"up", kHidden}});
    const Value y = p.d.clamped_swiglu(gate, up, {.alpha = 1, .limit = 1.5F});
    return p.d.add(p.d.add(p.x, up), p.d.linear(y, "mlp_out", {"down", kHidden}));
  });
  add("parallel", [](LayerPen& p) {
    const Value o = p.attention(p.norm(p.x, "attention_norm"));
    return p.d.add(p.x, p.d.add(o, p.mlp(p.norm(p.x, "mlp_norm"))));
  });
  add("parallel_one_by_one", [](LayerPen& p) {
    const Value o = p.attention(p.norm(p.x, "attention_norm"));
    return p.d.add(p.d.add(p.mlp(p.norm(p.x, "mlp_norm")), p.x), o);
  });
  add("gate_read_again", [](LayerPen& p) {
    const auto [gate, up] = p.d.linears(p.norm(p.x, "mlp_norm"), "mlp_in", {{"gate", kHidden}, {"up", kHidden}});
    const Value y = p.d.multiply(p.d.silu(gate), up);
    return p.d.add(p.x, p.d.add(p.d.add(y, gate), p.d.linear(y, "mlp_out", {"down", kHidden})));
  });
  add("gate_times_itself", [](LayerPen& p) {
    const Value gate = p.d.linear(p.norm(p.x, "mlp_norm"), "mlp_in", {"gate", kHidden});
    const Value y = p.d.multiply(p.d.silu(gate), gate);
    return p.d.add(p.x, p.d.add(y, p.norm(y, "after")));
  });
  add("twice_itself", [](LayerPen& p) {
    const Value h = p.d.linear(p.norm(p.x, "norm"), "in", {"w", kHidden});
    const Value y = p.d.add(h, h);
    return p.d.add(p.x, p.d.add(p.norm(y, "after"), y));
  });
  return layers;
}

struct Runnable {
  Graph graph;
  std::map<std::string, std::vector<float>, std::less<>> weights;
  std::map<std::string, PackedLinear, std::less<>> packed;
  Machine machine{chosen_isa(), 2};
  Workspace workspace;
  std::map<std::string, LatentHeads, std::less<>> latents;
  KvLayer cache{kTokens, 2, 4, KvType::f32};
  std::vector<float> x = std::vector<float>(kTokens * kHidden);

  explicit Runnable(Graph drawn = drawn_layers().front().graph) : graph(std::move(drawn)) {
    if (!graph.states.empty())
      cache = KvLayer(kTokens, graph.states.front().kv_heads, graph.states.front().head_dim, KvType::f32,
                      graph.states.front().values_are_keys ? KvValues::are_keys : KvValues::own);
    Random random(7);
    const auto fill = [&](std::vector<float>& values) {
      for (float& value : values) value = static_cast<float>(random.normal());
    };
    fill(x);
    for (const WeightUse& use : graph.weights()) {
      std::vector<float>& values = weights[use.part];
      values.resize(use.shape[0] * (use.shape.size() > 1 ? use.shape[1] : 1));
      fill(values);
      if (use.part == "rate")
        for (float& value : values) value = -std::abs(value);
      if (use.role != TensorRole::linear && use.role != TensorRole::router) continue;
      const QuantizedView view = make_view(find_raw_format(DType::f32), use.shape[0], use.shape[1],
                                           {std::as_bytes(std::span(values))}, use.part);
      packed.emplace(use.part, PackedLinear::pack(view, {.activations = ActivationMode::f32}, machine));
    }
  }

  std::vector<float> expected() const {
    const std::vector<std::vector<float>> given = {x};
    return evaluate(graph, kTokens, given, {},
                    [&](std::string_view part) { return std::span<const float>(weights.find(part)->second); })[0];
  }

  void run(const Program& program, std::vector<float*> given, std::vector<float*> wanted) {
    ProgramWeights bound;
    for (const Program::LinearUse& use : program.linears()) {
      bound.linears.push_back(&packed.at(use.part));
      bound.biases.push_back(use.bias.empty() ? std::span<const float>{}
                                              : std::span<const float>(weights.at(use.bias)));
    }
    for (const Program::LatentUse& use : program.latents()) {
      const std::vector<float>& values = weights.at(use.part);
      const std::uint64_t rows = use.shape.heads * (use.shape.key_dim + use.shape.value_dim);
      const QuantizedView view = make_view(find_raw_format(DType::f32), rows, values.size() / rows,
                                           {std::as_bytes(std::span(values))}, use.part);
      bound.latents.push_back(
          &latents.insert_or_assign(use.part, LatentHeads::pack(view, use.shape, machine)).first->second);
    }
    for (const std::string& part : program.vectors()) bound.vectors.emplace_back(weights.at(part));
    workspace.rotary.fill(0, kTokens, 0, kTokens);
    const BatchPiece piece{.row = 0, .tokens = kTokens, .position = 0};
    KvLayer* const caches[] = {&cache};
    std::vector<std::vector<float>> numbers;
    for (const RecurrentState& state : graph.recurrent) numbers.emplace_back(state.numbers);
    std::vector<float*> memories;
    for (std::vector<float>& state : numbers) memories.push_back(state.data());
    program.run({.tokens = kTokens, .pieces = {&piece, 1}, .caches = caches, .memories = memories}, bound,
                {given, wanted}, workspace, machine);
  }
};

inline void expect_close(const std::vector<float>& found, const std::vector<float>& expected) {
  // Sums of up to 24 products of numbers near 1, one after the other: some 1e-6 of the largest; ten times that for what
  // follows.
  double largest = 0;
  for (const float value : expected) largest = std::max(largest, std::abs(static_cast<double>(value)));
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-5 * largest) << i;
}

}  // namespace nibble
