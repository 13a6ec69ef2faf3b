// SPDX-License-Identifier: Apache-2.0
//
// What crosses from layer to layer of a network, and what a sequence keeps of it.
#include "graph/network.h"

#include <gtest/gtest.h>

#include "graph/drawing.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::uint64_t kHidden = 8;
const Attention kAttention = {.heads = 2, .kv_heads = 1, .head_dim = 4};

Graph begin(std::uint64_t layers) {
  Drawing d;
  const Value x = d.embedding("embedding", 10, kHidden);
  for (std::uint64_t i = 0; i < layers; ++i) d.pass_on("own." + std::to_string(i), d.slice(x, i, 2));
  return std::move(d).finish({x});
}

Graph end() {
  Drawing d;
  return std::move(d).finish({d.linear(d.input(token_rows(kHidden)), "head_in", {"head", 10})});
}

// Makes keys and values, or receives those of an earlier layer; either reads an input of its own.
Graph layer(bool receives, std::uint64_t window = 0, const std::string& passes = "", std::uint64_t kv_heads = 1) {
  Attention attention = kAttention;
  attention.window = window;
  attention.kv_heads = kv_heads;
  Drawing d;
  const Value x = d.input(token_rows(kHidden));
  const Value own = d.receive("own.{}", token_rows(2));
  const auto [q, g] = d.linears(x, "in", {{"q", 8}, {"g", 2}});
  const auto finish = [&](Value k, Value v) {
    const Value gated = d.linear(d.multiply(d.gelu(g), own), "gated", {"back", kHidden});
    return std::move(d).finish(
        {d.add(d.add(x, gated), d.linear(d.attention(q, k, v, attention), "out", {"o", kHidden}))});
  };
  if (receives) {
    const Value keys = d.receive("keys", token_rows(4 * kv_heads));
    return finish(keys, d.receive("values", token_rows(4 * kv_heads)));
  }
  const auto [k, v] = d.linears(x, "in", {{"k", 4 * kv_heads}, {"v", 4 * kv_heads}});
  if (!passes.empty()) {
    d.pass_on(passes, k);
    d.pass_on("values", v);
  }
  return finish(k, v);
}

TEST(Network, KeepsSharedKeysAndValuesOnce) {
  const Network network(begin(5), {layer(false), layer(false, 0, "keys"), layer(false), layer(true), layer(true)},
                        end());
  EXPECT_EQ(network.states().size(), 3u);
  EXPECT_EQ(network.states_of(0), (std::vector<std::size_t>{0}));
  EXPECT_EQ(network.states_of(2), (std::vector<std::size_t>{2}));
  EXPECT_EQ(network.states_of(3), (std::vector<std::size_t>{1}));
  EXPECT_EQ(network.states_of(4), (std::vector<std::size_t>{1}));
  EXPECT_EQ(&network.layer(0), &network.layer(2));
  EXPECT_EQ(&network.layer(3), &network.layer(4));
}

// Whoever keeps states need not be given keys and values; inputs of a layer's own have its number.
TEST(Network, TellsWhatCrossesBesideStates) {
  const Network network(begin(2), {layer(false, 0, "keys"), layer(true)}, end());
  const Graph &first = network.layer(0).graph, &second = network.layer(1).graph;
  EXPECT_EQ(first.outputs.size(), 3u);
  EXPECT_EQ(outputs_beside_states(first), (std::vector<ValueId>{first.outputs.front()}));
  EXPECT_EQ(second.inputs.size(), 4u);
  EXPECT_EQ(inputs_beside_states(second), (std::vector<ValueId>{second.inputs[0], second.inputs[1]}));
  EXPECT_EQ(Network::name_of(second.received.front(), 1), "own.1");
  EXPECT_EQ(outputs_beside_states(network.begin().graph), network.begin().graph.outputs);
}

TEST(Network, RefusesWhatNothingPassesOn) {
  const auto refused = [](std::vector<Graph> layers) {
    try {
      const Network network(begin(2), std::move(layers), end());
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(refused({layer(false, 0, "keys"), layer(true)}), "");
  EXPECT_NE(refused({layer(false), layer(true)}), "");                            // nobody passes them on
  EXPECT_NE(refused({layer(true), layer(false, 0, "keys")}), "");                 // before the one that does
  EXPECT_NE(refused({layer(false, 5, "keys"), layer(true)}), "");                 // a state within a window
  EXPECT_NE(refused({layer(false, 0, "keys"), layer(false), layer(false)}), "");  // begin knows of two layers only
}

}  // namespace
}  // namespace nibble
