// SPDX-License-Identifier: Apache-2.0
//
// The pen that families draw with: every call adds an operation and gives the value that it makes. One thread at a
// time.
//
//   Drawing d;
//   Value x = d.input(token_rows(hidden));
//   Value h = d.rms_norm(x, "mlp_norm", epsilon);
//   auto [gate, up] = d.linears(h, "mlp_in", {{"gate", wide}, {"up", wide}});
//   x = d.add(x, d.linear(d.multiply(d.silu(gate), up), "mlp_out", {"down", hidden}));
//   Graph graph = std::move(d).finish({x});
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "graph/graph.h"

namespace nibble {

class Value {
 public:
  ValueId id() const noexcept { return id_; }

 private:
  friend class Drawing;
  explicit Value(ValueId id) : id_(id) {}
  ValueId id_;
};

// One Linear of a site.
struct LinearSpec {
  std::string part;
  std::uint64_t rows = 0;
  bool has_bias = false;
  TensorRole role = TensorRole::linear;
};

// Of a gated delta rule.
struct DeltaInputs {
  Value queries, keys, values;
  Value forgets, learns;  // a and b
};

// Of attention to a latent vector, in the order of LatentAttention's inputs.
struct LatentInputs {
  Value queries, turned_queries, keys_values, turned_keys;
};

class Drawing {
 public:
  Value input(Dimensions shape);
  // A value that an earlier drawing of the network has passed on, the last one of them that did; name: Crossing's.
  Value receive(std::string name, Dimensions shape);
  void pass_on(std::string name, Value x);
  Value embedding(std::string part, std::uint64_t vocabulary, std::uint64_t width);
  Value rms_norm(Value x, std::string part, float epsilon);
  // Each head of `group` channels by itself, with the same weights [group].
  Value rms_norm_heads(Value x, std::string part, float epsilon, std::uint64_t group);
  // Linears that read x; site: what statistics of x are kept under.
  template <std::size_t N>
  std::array<Value, N> linears(Value x, const std::string& site, const LinearSpec (&specs)[N]) {
    return linears_of(x, site, specs, std::make_index_sequence<N>());
  }
  Value linear(Value x, const std::string& site, const LinearSpec& spec);
  Value rope(Value x, Rope rope);
  Value attention(Value queries, Value keys, Value values, Attention attention);
  Value latent_attention(const LatentInputs& inputs, LatentAttention attention);
  Value add(Value a, Value b);
  Value multiply(Value a, Value b);
  Value silu(Value x);
  Value gelu(Value x);
  Value squared_relu(Value x);
  Value clamped_swiglu(Value gate, Value up, ClampedSwiglu op);
  Value scale(Value x, float factor);
  Value gain(Value x, std::string part);
  Value scale_by_position(Value x, float growth, std::uint64_t period);
  Value sigmoid(Value x);
  Value scale_tokens(Value x, Value factors);
  Value slice(Value x, std::uint64_t begin, std::uint64_t count);
  // The same of each head of `group` channels.
  Value slice_heads(Value x, std::uint64_t group, std::uint64_t begin, std::uint64_t count);
  Value l2_norm_heads(Value x, float epsilon, std::uint64_t group);
  Value causal_convolution(Value x, std::string part, std::uint64_t taps);
  Value gated_delta_rule(const DeltaInputs& inputs, GatedDeltaRule rule);
  Value soft_cap(Value x, float cap);
  Value route(Value logits, Route route);
  Value expert_linear(Value x, Value routing, const std::string& site, std::string part, std::uint64_t rows,
                      bool has_bias = false);
  Value mix_experts(Value x, Value routing);

  Graph finish(const std::vector<Value>& outputs) &&;

 private:
  template <std::size_t N, std::size_t... I>
  std::array<Value, N> linears_of(Value x, const std::string& site, const LinearSpec (&specs)[N],
                                  std::index_sequence<I...>) {
    return {linear(x, site, specs[I])...};  // in order, as braces promise
  }
  Value apply(Operation operation, const std::vector<Value>& inputs);

  Graph graph_;
};

}  // namespace nibble
