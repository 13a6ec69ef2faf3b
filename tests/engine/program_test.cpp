// SPDX-License-Identifier: Apache-2.0
//
// Programs against the reference arithmetic of what they were made from, whole and cut into parts.
#include "engine/program.h"

#include <gtest/gtest.h>

#include "engine/drawn_layers.h"
#include "nibble/error.h"

namespace nibble {
namespace {

class EveryLayer : public testing::TestWithParam<DrawnLayer> {};
INSTANTIATE_TEST_SUITE_P(All, EveryLayer, testing::ValuesIn(drawn_layers()),
                         [](const auto& layer) { return layer.param.name; });

TEST_P(EveryLayer, IsComputedInThePlaceOfItsInput) {
  Runnable model(GetParam().graph);
  const std::vector<float> expected = model.expected();
  const Program program(model.graph, {.given = model.graph.inputs, .wanted = model.graph.outputs},
                        model.workspace.rotary);
  EXPECT_EQ(program.place_of(0), std::optional<std::size_t>(0));
  model.run(program, {model.x.data()}, {model.x.data()});
  expect_close(model.x, expected);
}

TEST_P(EveryLayer, LeavesWhatIsKept) {
  Runnable model(GetParam().graph);
  const std::vector<float> before = model.x, expected = model.expected();
  std::vector<float> y(model.x.size());
  const Program program(model.graph,
                        {.given = model.graph.inputs, .wanted = model.graph.outputs, .kept = model.graph.inputs},
                        model.workspace.rotary);
  EXPECT_FALSE(program.place_of(0));
  model.run(program, {model.x.data()}, {y.data()});
  EXPECT_EQ(model.x, before);
  expect_close(y, expected);
}

// Cut at any value that is one of two: in front of it, and behind it from there.
TEST(Program, PartsGiveTheBitsOfTheWhole) {
  Runnable model;
  const std::vector<float> before = model.x;
  const Program whole(model.graph, {.given = model.graph.inputs, .wanted = model.graph.outputs},
                      model.workspace.rotary);
  model.run(whole, {model.x.data()}, {model.x.data()});
  std::size_t cuts = 0;
  for (const Node& node : model.graph.nodes) {
    if (std::holds_alternative<Silu>(node.operation) || node.output == model.graph.outputs.front()) continue;
    const ValueId x = model.graph.inputs.front();
    std::vector<float> stream = before, between(kTokens * model.graph.width(node.output)), y(kTokens * kHidden);
    const Program front(model.graph, {.given = {x}, .wanted = {node.output}, .kept = {x}}, model.workspace.rotary);
    const Program back(model.graph,
                       {.given = {x, node.output}, .wanted = model.graph.outputs, .kept = {x, node.output}},
                       model.workspace.rotary);
    model.run(front, {stream.data()}, {between.data()});
    const std::vector<float> unchanged = between;
    model.run(back, {stream.data(), between.data()}, {y.data()});
    EXPECT_EQ(y, model.x) << node.output;
    EXPECT_EQ(stream, before);
    EXPECT_EQ(between, unchanged);
    ++cuts;
  }
  EXPECT_EQ(cuts, model.graph.nodes.size() - 2);
}

// A layer that makes keys and values, and one that reads them, too, with an input beside the stream.
std::pair<Graph, Graph> sharing_layers() {
  const Attention attention{.heads = 4, .kv_heads = 2, .head_dim = 4, .scale = 0.5F};
  LayerPen first, second;
  const auto [q, k, v] = first.d.linears(first.norm(first.x, "norm"), "attention_in", {{"q", 16}, {"k", 8}, {"v", 8}});
  const Value keys = first.d.rope(k, {.head_dim = 4, .frequencies = {1, 0.25}});
  first.d.pass_on("keys", keys);
  first.d.pass_on("values", v);
  first.d.pass_on("own", first.d.linear(first.x, "own_in", {"own", 6}));
  const Value y = first.d.add(first.x, first.d.linear(first.d.attention(q, keys, v, attention), "out", {"o", kHidden}));
  const Value received_keys = second.d.receive("keys", token_rows(8)),
              values = second.d.receive("values", token_rows(8));
  const Value asked = second.d.linear(second.norm(second.x, "norm"), "attention_in", {"q", 16});
  const Value mixed = second.d.attention(asked, received_keys, values, attention);
  const Value x = second.d.add(second.x, second.d.linear(mixed, "out", {"o", kHidden}));
  const Value gate = second.d.gelu(second.d.linear(x, "gate_in", {"gate", 6}));
  const Value gated = second.d.multiply(gate, second.d.receive("own", token_rows(6)));
  return {first.finish(y), second.finish(second.d.add(x, second.d.linear(gated, "gate_out", {"back", kHidden})))};
}

// Whoever keeps states gives no keys and values; whoever does not, gives them as the first layer made them.
TEST(CrossingValues, AreReadByLayersBehind) {
  const auto [first_graph, second_graph] = sharing_layers();
  Runnable first(first_graph), second(second_graph);
  const auto by = [](const Runnable& model) {
    return [&model](std::string_view part) { return std::span<const float>(model.weights.find(part)->second); };
  };
  const std::vector<std::vector<float>> stream = {first.x};
  const std::vector<std::vector<float>> made = evaluate(first_graph, kTokens, stream, {}, by(first));
  const std::vector<float> expected = evaluate(second_graph, kTokens, made, {}, by(second)).front();

  const ProgramSpan of_first = span_beside_states(first_graph), of_second = span_beside_states(second_graph);
  ASSERT_EQ(of_first.wanted.size(), 2u);
  ASSERT_EQ(of_second.given.size(), 2u);
  const Program begin(first_graph, of_first, first.workspace.rotary),
      end(second_graph, of_second, second.workspace.rotary);
  std::vector<float> x = first.x, own(kTokens * 6);
  first.run(begin, {x.data()}, {x.data(), own.data()});
  expect_close(own, made[3]);
  std::swap(first.cache, second.cache);
  const std::vector<float> before = own;
  second.run(end, {x.data(), own.data()}, {x.data()});
  EXPECT_EQ(own, before);
  expect_close(x, expected);

  ProgramSpan all{.given = second_graph.inputs, .wanted = second_graph.outputs};
  all.kept.assign(second_graph.inputs.begin() + 1, second_graph.inputs.end());
  std::vector<std::vector<float>> given = made;
  std::vector<float*> places;
  for (std::vector<float>& values : given) places.push_back(values.data());
  second.cache = KvLayer(kTokens, 2, 4, KvType::f32);
  second.run(Program(second_graph, all, second.workspace.rotary), places, {places[0]});
  expect_close(given[0], expected);
  for (std::size_t i = 1; i < given.size(); ++i) EXPECT_EQ(given[i], made[i]);
}

TEST(Program, RefusesWhatNoKernelRuns) {
  Drawing d;
  const Value x = d.input(token_rows(kHidden));
  const Graph graph = std::move(d).finish({d.silu(x)});
  RotaryTables tables;
  EXPECT_THROW(Program(graph, {.given = graph.inputs, .wanted = graph.outputs}, tables), Error);
}

}  // namespace
}  // namespace nibble
