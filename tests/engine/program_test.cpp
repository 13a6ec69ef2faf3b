// SPDX-License-Identifier: Apache-2.0
//
// Programs against the reference arithmetic of what they were made from, whole and cut into parts.
#include "engine/program.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "base/random.h"
#include "graph/drawing.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::size_t kTokens = 5;
constexpr std::uint64_t kHidden = 16, kWide = 24;

Graph draw() {
  Drawing d;
  Value x = d.input(token_rows(kHidden));
  Value h = d.rms_norm(x, "norm", 1e-5F);
  const Rope rope{.head_dim = 4, .frequencies = {1, 0.25}};
  const auto [q, k, v] = d.linears(h, "attention_in", {{"q", 16, true}, {"k", 8}, {"v", 8}});
  const Value normed = d.rms_norm_heads(q, "q_norm", 1e-5F, 4);
  const Value mixed = d.attention(d.rope(normed, rope), d.rope(k, rope), v, {.heads = 4, .kv_heads = 2, .head_dim = 4, .scale = 0.5F});
  x = d.add(x, d.linear(mixed, "attention_out", {"o", kHidden}));
  h = d.rms_norm(x, "mlp_norm", 1e-5F);
  const auto [gate, up] = d.linears(h, "mlp_in", {{"gate", kWide}, {"up", kWide}});
  x = d.add(x, d.linear(d.multiply(d.silu(gate), up), "mlp_out", {"down", kHidden}));
  return std::move(d).finish({x});
}

struct Runnable {
  Graph graph = draw();
  std::map<std::string, std::vector<float>, std::less<>> weights;
  std::map<std::string, PackedLinear, std::less<>> packed;
  ThreadPool pool{2};
  Workspace workspace;
  KvLayer cache{kTokens, 2, 4, KvType::f32};
  std::vector<float> x = std::vector<float>(kTokens * kHidden);

  Runnable() {
    Random random(7);
    const auto fill = [&](std::vector<float>& values) {
      for (float& value : values) value = static_cast<float>(random.normal());
    };
    fill(x);
    for (const WeightUse& use : graph.weights()) {
      std::vector<float>& values = weights[use.part];
      values.resize(use.shape[0] * (use.shape.size() > 1 ? use.shape[1] : 1));
      fill(values);
      if (use.role != TensorRole::linear) continue;
      const QuantizedView view = make_view(find_raw_format(DType::f32), use.shape[0], use.shape[1], {std::as_bytes(std::span(values))}, use.part);
      packed.emplace(use.part, PackedLinear::pack(view, {.activations = ActivationMode::f32}, pool));
    }
  }

  std::vector<float> expected() const {
    const std::vector<std::vector<float>> given = {x};
    return evaluate(graph, kTokens, given, {}, [&](std::string_view part) { return std::span<const float>(weights.find(part)->second); })[0];
  }

  void run(const Program& program, std::vector<float*> given, std::vector<float*> wanted) {
    ProgramWeights bound;
    for (const Program::LinearUse& use : program.linears()) {
      bound.linears.push_back(&packed.at(use.part));
      bound.biases.push_back(use.bias.empty() ? std::span<const float>{} : std::span<const float>(weights.at(use.bias)));
    }
    for (const std::string& norm : program.norms()) bound.norms.emplace_back(weights.at(norm));
    workspace.rotary.fill(0, kTokens, 0);
    const BatchPiece piece{.row = 0, .tokens = kTokens, .position = 0};
    KvLayer* const caches[] = {&cache};
    program.run({.tokens = kTokens, .pieces = {&piece, 1}, .caches = caches}, bound, {given, wanted}, workspace, Isa::scalar, pool);
  }
};

void expect_close(const std::vector<float>& found, const std::vector<float>& expected) {
  double largest = 0;
  for (const float value : expected) largest = std::max(largest, std::abs(static_cast<double>(value)));
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 1e-5 * largest) << i;
}

TEST(Program, ComputesWhatIsDrawnInThePlaceOfItsInput) {
  Runnable model;
  const std::vector<float> expected = model.expected();
  const Program program(model.graph, {.given = model.graph.inputs, .wanted = model.graph.outputs}, model.workspace.rotary);
  EXPECT_EQ(program.place_of(0), std::optional<std::size_t>(0));
  model.run(program, {model.x.data()}, {model.x.data()});
  expect_close(model.x, expected);
}

TEST(Program, LeavesWhatIsKept) {
  Runnable model;
  const std::vector<float> before = model.x, expected = model.expected();
  std::vector<float> y(model.x.size());
  const Program program(model.graph, {.given = model.graph.inputs, .wanted = model.graph.outputs, .kept = model.graph.inputs}, model.workspace.rotary);
  EXPECT_FALSE(program.place_of(0));
  model.run(program, {model.x.data()}, {y.data()});
  EXPECT_EQ(model.x, before);
  expect_close(y, expected);
}

// Cut at any value that is one of two: in front of it, and behind it from there.
TEST(Program, PartsGiveTheBitsOfTheWhole) {
  Runnable model;
  const std::vector<float> before = model.x;
  const Program whole(model.graph, {.given = model.graph.inputs, .wanted = model.graph.outputs}, model.workspace.rotary);
  model.run(whole, {model.x.data()}, {model.x.data()});
  std::size_t cuts = 0;
  for (const Node& node : model.graph.nodes) {
    if (std::holds_alternative<Silu>(node.operation) || node.output == model.graph.outputs.front()) continue;
    const ValueId x = model.graph.inputs.front();
    std::vector<float> stream = before, between(kTokens * model.graph.width(node.output)), y(kTokens * kHidden);
    const Program front(model.graph, {.given = {x}, .wanted = {node.output}, .kept = {x}}, model.workspace.rotary);
    const Program back(model.graph, {.given = {x, node.output}, .wanted = model.graph.outputs, .kept = {x, node.output}}, model.workspace.rotary);
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
