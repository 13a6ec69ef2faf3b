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

TEST(Program, RefusesWhatNoKernelRuns) {
  Drawing d;
  const Value x = d.input(token_rows(kHidden));
  const Graph graph = std::move(d).finish({d.silu(x)});
  RotaryTables tables;
  EXPECT_THROW(Program(graph, {.given = graph.inputs, .wanted = graph.outputs}, tables), Error);
}

}  // namespace
}  // namespace nibble
