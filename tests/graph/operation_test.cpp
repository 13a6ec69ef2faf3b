// SPDX-License-Identifier: Apache-2.0
//
// Every operation of the list: what it must say of itself, and its reference arithmetic on numbers that were worked out
// by hand.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "graph/drawing.h"

namespace nibble {
namespace {

using Weights = std::map<std::string, std::vector<float>, std::less<>>;

std::vector<float> run(Drawing& d, Value y, std::size_t tokens, const std::vector<std::vector<float>>& given,
                       const Weights& weights = {}, const std::vector<std::int32_t>& ids = {}) {
  return evaluate(std::move(d).finish({y}), tokens, given, ids,
                  [&](std::string_view part) { return std::span<const float>(weights.find(part)->second); })[0];
}

void expect_near(const std::vector<float>& found, const std::vector<float>& expected) {
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i)
    EXPECT_NEAR(found[i], expected[i], 1e-6F * (1 + std::abs(expected[i]))) << i;
}

// Steps read what there is: inputs, weights of the operation, earlier steps.
void expect_sound(const Node& node, const Graph& graph) {
  const auto shapes = graph.input_shapes(node);
  const OnnxSpelling spelling = std::visit([&](const auto& op) { return op.onnx(shapes); }, node.operation);
  EXPECT_NE(spelling.steps.empty(), spelling.refusal.empty());
  std::vector<std::string> parts;
  for (const WeightUse& use : graph.weights(node)) parts.push_back(use.part);
  for (std::size_t i = 0; i < spelling.steps.size(); ++i)
    for (const OnnxOperand& operand : spelling.steps[i].inputs) {
      const bool is_part = operand.kind == OnnxOperand::Kind::weight || operand.kind == OnnxOperand::Kind::columns;
      EXPECT_TRUE(operand.kind != OnnxOperand::Kind::input || operand.index < node.inputs.size());
      EXPECT_TRUE(operand.kind != OnnxOperand::Kind::step || operand.index < i);
      EXPECT_TRUE(!is_part || std::ranges::find(parts, operand.part) != parts.end()) << operand.part;
    }
}

TEST(OnnxSpellings, ReadWhatThereIs) {
  Drawing d;
  const Value x = d.embedding("e", 7, 8);
  const Value q = d.rope(d.rms_norm_heads(d.linear(x, "in", {"q", 8, true}), "n", 1e-5F, 4),
                         {.head_dim = 4, .frequencies = {1}, .half_split = false});
  const Value k = d.linear(x, "in", {"k", 4}), v = d.linear(x, "in", {"v", 4});
  Value y = d.attention(d.scale_by_position(q, 0.1F, 8), k, v, {2, 1, 4, 0.5F, 3, 20, "sinks"});
  y = d.add(d.multiply(d.silu(y), d.gelu(y)), d.soft_cap(d.scale(d.gain(y, "g"), 2), 5));
  y = d.clamped_swiglu(d.sigmoid(y), d.l2_norm_heads(d.slice_heads(y, 4, 0, 4), 1e-6F, 4), {});
  const Graph graph = std::move(d).finish({d.rms_norm(y, "f", 1e-5F)});
  for (const Node& node : graph.nodes) expect_sound(node, graph);
}

TEST(Reference, EmbeddingAndLinear) {
  Drawing d;
  const Value x = d.embedding("e", 3, 2);
  const Value y = d.linear(x, "in", {"w", 3, true});
  expect_near(
      run(d, y, 2, {}, {{"e", {1, 2, 3, 4, 5, 6}}, {"w", {1, 0, 0, 1, 1, -1}}, {"w.bias", {10, 20, 30}}}, {2, 0}),
      {15, 26, 29, 11, 22, 29});
}

TEST(Reference, GainMultipliesByANumberThatIsStored) {
  Drawing d;
  expect_near(run(d, d.gain(d.input(token_rows(2)), "g"), 2, {{1, -2, 3, 4}}, {{"g", {-0.5F}}}), {-0.5F, 1, -1.5F, -2});
}

// Of logits 0, ln 3 and ln 2 the two largest share 3 : 2, and each is then times its expert's own number.
TEST(Reference, RoutingMayBeTimesANumberOfEachExpert) {
  Drawing d;
  const Value routing = d.route(d.input(token_rows(3)), {.used = 2, .scales = "s"});
  expect_near(run(d, routing, 1, {{0, std::log(3.0F), std::log(2.0F)}}, {{"s", {7, 2, -3}}}), {0, 1.2F, -1.2F});
}

TEST(Reference, RmsNormOfAllChannelsAndOfGroups) {
  Drawing all, groups;
  const std::vector<float> x = {3, 4, 0, 0};
  expect_near(run(all, all.rms_norm(all.input(token_rows(4)), "w", 0), 1, {x}, {{"w", {1, 1, 1, 2}}}),
              {1.2F, 1.6F, 0, 0});
  expect_near(run(groups, groups.rms_norm_heads(groups.input(token_rows(4)), "w", 1, 2), 1, {x}, {{"w", {1, 2}}}),
              {3 / std::sqrt(13.5F), 8 / std::sqrt(13.5F), 0, 0});
}

// A quarter turn a position.
TEST(Reference, RopeOfHalvesAndOfNeighbours) {
  const double quarter = std::acos(0.0);
  for (const bool half_split : {true, false}) {
    Drawing d;
    const Value y =
        d.rope(d.input(token_rows(4)), {.head_dim = 4, .frequencies = {quarter, 0}, .half_split = half_split});
    const std::vector<float> turned = half_split ? std::vector<float>{-3, 2, 1, 4} : std::vector<float>{-2, 1, 3, 4};
    expect_near(run(d, y, 2, {{1, 2, 3, 4, 1, 2, 3, 4}}), {1, 2, 3, 4, turned[0], turned[1], turned[2], turned[3]});
  }
}

// Beyond the short length by the other frequencies, from the first token on; all twice as large.
TEST(Reference, RopeOfLongSequences) {
  const double quarter = std::acos(0.0);
  Drawing d;
  const Value y =
      d.rope(d.input(token_rows(2)),
             {.head_dim = 2, .frequencies = {0}, .magnitude = 2, .long_frequencies = {quarter}, .short_length = 2});
  const Graph graph = std::move(d).finish({y});
  const auto turn = [&](std::size_t tokens) {
    const std::vector<std::vector<float>> given = {std::vector<float>(2 * tokens, 1)};
    return evaluate(graph, tokens, given, {}, {})[0];
  };
  expect_near(turn(2), {2, 2, 2, 2});
  expect_near(turn(3), {2, 2, -2, 2, -2, -2});
}

// Three experts, two of which each token is sent to; of equal logits the earlier expert's comes first.
TEST(Reference, ExpertsAreRoutedWeightedAndMixed) {
  const float a = std::exp(1.0F), b = std::exp(-1.0F);
  for (const bool normalizes : {true, false}) {
    Drawing d;
    const Value logits = d.input(token_rows(3));
    expect_near(run(d, d.route(logits, {.used = 2, .normalizes = normalizes}), 2, {{0, 1, -1, 2, 2, 2}}),
                normalizes ? std::vector<float>{1 / (1 + a), a / (1 + a), 0, 0.5F, 0.5F, 0}
                           : std::vector<float>{1 / (1 + a + b), a / (1 + a + b), 0, 1.0F / 3, 1.0F / 3, 0});
  }
  Drawing d;
  const Value x = d.input(token_rows(1)), routing = d.input(token_rows(3));
  const Value y = d.expert_linear(x, routing, "in", "w", 2);
  const Value mixed = d.mix_experts(d.expert_linear(y, routing, "out", "v", 1), routing);
  const Weights weights = {{"w.0", {1, 2}}, {"w.1", {3, 4}},  {"w.2", {5, 6}},
                           {"v.0", {1, 1}}, {"v.1", {1, -1}}, {"v.2", {2, 0}}};
  // Token 1: 0.5 * (10 + 20) from expert 0, 2 * 100 from expert 2; token 2: -3 from expert 1.
  expect_near(run(d, mixed, 2, {{10, 3}, {0.5F, 0, 2, 0, 1, 0}}, weights), {215, -3});
}

// Six experts in three groups. A correction chooses and does not weigh; a group counts its two best, or its best.
TEST(Reference, ExpertsAreRoutedByGroupsAndCorrections) {
  const std::vector<float> scores = {0.9F, 0.1F, 0.6F, 0.5F, 0.7F, 0.2F};
  std::vector<float> logits;
  for (const float s : scores) logits.push_back(std::log(s / (1 - s)));
  const auto route = [&](const Route& op, const std::vector<float>& given, const Weights& weights = {}) {
    Drawing d;
    const Value x = d.input(token_rows(6));
    return run(d, d.route(x, op), 1, {given}, weights);
  };
  Route by_two{.used = 2, .score = Route::Score::sigmoid, .groups = 3, .groups_used = 1};
  expect_near(route(by_two, logits), {0, 0, 6 / 11.0F, 5 / 11.0F, 0, 0});  // 1.1, against 1.0 and 0.9
  by_two.normalizes = false;
  by_two.factor = 2;
  expect_near(route(by_two, logits), {0, 0, 1.2F, 1, 0, 0});
  by_two.correction = "c";
  by_two.groups_used = 2;
  expect_near(route(by_two, logits, {{"c", {-1, 0, -2, 0, 0, 0.4F}}}), {0, 0, 0, 0, 1.4F, 0.4F});
  by_two.normalizes = true;
  by_two.sum_offset = 0.1F;
  expect_near(route(by_two, logits, {{"c", {-1, 0, -2, 0, 0, 0.4F}}}), {0, 0, 0, 0, 1.4F, 0.4F});
  std::vector<float> thirds;  // whose softmax is a third of the scores, which sum to 3
  for (const float s : scores) thirds.push_back(std::log(s));
  const Route by_one{.used = 2,
                     .normalizes = false,
                     .groups = 3,
                     .groups_used = 2,
                     .group_score = Route::GroupScore::largest,
                     .factor = 3};
  expect_near(route(by_one, thirds), {0.9F, 0, 0, 0, 0.7F, 0});
}

// What is routed nowhere stays zero, without a bias.
TEST(Reference, ExpertsHaveBiasesOfTheirOwn) {
  Drawing d;
  const Value x = d.input(token_rows(1)), routing = d.input(token_rows(2));
  const Value mixed = d.mix_experts(d.expert_linear(x, routing, "in", "w", 2, true), routing);
  expect_near(run(d, mixed, 2, {{10, 1}, {0, 0.5F, 2, 1}},
                  {{"w.0", {1, 2}}, {"w.1", {3, 4}}, {"w.0.bias", {0.25F, 0.5F}}, {"w.1.bias", {-2, 6}}}),
              {14, 23, 3.5F, 15});
}

TEST(Reference, SliceTakesChannels) {
  Drawing d;
  expect_near(run(d, d.slice(d.input(token_rows(4)), 1, 2), 2, {{1, 2, 3, 4, 5, 6, 7, 8}}), {2, 3, 6, 7});
}

TEST(Reference, SliceTakesChannelsOfEachHead) {
  Drawing d;
  expect_near(run(d, d.slice_heads(d.input(token_rows(6)), 3, 1, 2), 1, {{1, 2, 3, 4, 5, 6}}), {2, 3, 5, 6});
}

TEST(Reference, L2NormOfHeads) {
  Drawing d;
  expect_near(run(d, d.l2_norm_heads(d.input(token_rows(4)), 11, 2), 1, {{3, 4, 5, 0}}), {0.5F, 4.0F / 6, 5.0F / 6, 0});
}

// Before the first token there is nothing; the last tap is the token's own.
TEST(Reference, ConvolutionIsCausal) {
  Drawing d;
  expect_near(run(d, d.causal_convolution(d.input(token_rows(2)), "w", 3), 4, {{1, 10, 2, 20, 3, 30, 4, 40}},
                  {{"w", {4, 2, 1, 0, 0, 3}}}),
              {1, 30, 2 + 2, 60, 3 + 4 + 4, 90, 4 + 6 + 8, 120});
}

// Two heads of one key head. The first forgets half with every token and learns all (b is large): its memory of key
// (1, 0) becomes the value, that of (0, 1) stays. The second learns half and forgets nothing.
TEST(Reference, DeltaRuleForgetsAndCorrects) {
  constexpr float kAll = 100;
  const Weights weights = {{"rate", {-1, 0}}, {"bias", {0, 0}}};  // softplus(0) = ln 2
  Drawing d;
  const Value q = d.input(token_rows(2)), k = d.input(token_rows(2)), v = d.input(token_rows(2)),
              a = d.input(token_rows(2)), b = d.input(token_rows(2));
  const Value y = d.gated_delta_rule(
      {q, k, v, a, b},
      {.rate = "rate", .bias = "bias", .key_heads = 1, .heads = 2, .key_dim = 2, .value_dim = 1, .scale = 2});
  expect_near(
      run(d, y, 3,
          {{1, 0, 1, 1, 1, 1}, {1, 0, 0, 1, 1, 0}, {8, 8, 6, 6, 5, 5}, {0, 0, 0, 0, 0, 0}, {kAll, 0, kAll, 0, kAll, 0}},
          weights),
      {2 * 8, 2 * 4, 2 * (4 + 6), 2 * (4 + 3), 2 * (5 + 3), 2 * (4.5F + 3)});
}

TEST(Reference, DeltaRuleReadsKeyHeads) {
  const Weights weights = {{"rate", {0, 0, 0, 0}}, {"bias", {0, 0, 0, 0}}};
  for (const bool tiles : {false, true}) {
    Drawing d;
    const Value q = d.input(token_rows(2)), k = d.input(token_rows(2)), v = d.input(token_rows(4)),
                a = d.input(token_rows(4)), b = d.input(token_rows(4));
    const Value y = d.gated_delta_rule({q, k, v, a, b}, {.rate = "rate",
                                                         .bias = "bias",
                                                         .key_heads = 2,
                                                         .heads = 4,
                                                         .key_dim = 1,
                                                         .value_dim = 1,
                                                         .tiles_heads = tiles});
    const std::vector<float> all(4, 100);
    expect_near(run(d, y, 1, {{1, 10}, {1, 1}, {1, 2, 3, 4}, {0, 0, 0, 0}, all}, weights),
                tiles ? std::vector<float>{1, 20, 3, 40} : std::vector<float>{1, 2, 30, 40});
  }
}

TEST(Reference, AttentionIsCausalAndSharesHeads) {
  Drawing d;
  const Value q = d.input(token_rows(2)), k = d.input(token_rows(1)), v = d.input(token_rows(1));
  const Value y = d.attention(q, k, v, {.heads = 2, .kv_heads = 1, .head_dim = 1, .scale = 2});
  const float a = std::exp(2.0F), b = std::exp(4.0F);  // the second token's first head: products 1 and 2, twice
  expect_near(run(d, y, 2, {{5, 5, 1, 0}, {1, 2}, {10, 20}}), {10, 10, (10 * a + 20 * b) / (a + b), 15});
}

TEST(Reference, NumberByNumber) {
  Drawing sum, product, activation;
  const Value a = sum.input(token_rows(2)), b = sum.input(token_rows(2));
  expect_near(run(sum, sum.add(a, b), 1, {{1, 2}, {3, -4}}), {4, -2});
  const Value c = product.input(token_rows(2)), e = product.input(token_rows(2));
  expect_near(run(product, product.multiply(c, e), 1, {{1, 2}, {3, -4}}), {3, -8});
  expect_near(run(activation, activation.silu(activation.input(token_rows(2))), 1, {{0, 1}}),
              {0, 1 / (1 + std::exp(-1.0F))});
  Drawing gelu, scale, cap, gate;
  expect_near(run(gate, gate.sigmoid(gate.input(token_rows(3))), 1, {{0, 1, -100}}),
              {0.5F, 1 / (1 + std::exp(-1.0F)), 0});
  expect_near(run(gelu, gelu.gelu(gelu.input(token_rows(3))), 1, {{0, 1, -1}}),
              {0, 0.8411920F, -0.1588080F});  // PyTorch's gelu(approximate="tanh")
  expect_near(run(scale, scale.scale(scale.input(token_rows(2)), 3), 1, {{1, -2}}), {3, -6});
  expect_near(run(cap, cap.soft_cap(cap.input(token_rows(3)), 2), 1, {{0, 2, -1000}}), {0, 2 * std::tanh(1.0F), -2});
}

TEST(Reference, QueriesGrowWithTheirPosition) {
  Drawing d;
  const Value y = d.scale_by_position(d.input(token_rows(1)), 0.5F, 2);
  expect_near(run(d, y, 5, {{1, 1, 1, -2, 4}}),
              {1, 1, 1 + 0.5F * std::log(2.0F), -2 - std::log(2.0F), 4 + 2 * std::log(3.0F)});
}

TEST(Reference, AttentionWithinAWindowAndUnderACap) {
  const std::vector<std::vector<float>> given = {{1, 1, 1}, {1, 2, 3}, {10, 20, 40}};
  const auto attend = [&](const Attention& op) {
    Drawing d;
    const Value q = d.input(token_rows(1)), k = d.input(token_rows(1)), v = d.input(token_rows(1));
    return run(d, d.attention(q, k, v, op), 3, given);
  };
  const float a = std::exp(1.0F), b = std::exp(2.0F), c = std::exp(3.0F);
  expect_near(attend({.heads = 1, .kv_heads = 1, .head_dim = 1, .window = 1}), {10, 20, 40});
  expect_near(attend({.heads = 1, .kv_heads = 1, .head_dim = 1, .window = 2}),
              {10, (10 * a + 20 * b) / (a + b), (20 * b + 40 * c) / (b + c)});
  const float x = std::exp(2 * std::tanh(0.5F)), y = std::exp(2 * std::tanh(1.0F));
  expect_near({attend({.heads = 1, .kv_heads = 1, .head_dim = 1, .soft_cap = 2})[1]}, {(10 * x + 20 * y) / (x + y)});
}

// A head's sink takes a share of the weights and gives nothing for it.
TEST(Reference, AttentionWithSinks) {
  Drawing d;
  const Value q = d.input(token_rows(2)), k = d.input(token_rows(1)), v = d.input(token_rows(1));
  const Value y = d.attention(q, k, v, {.heads = 2, .kv_heads = 1, .head_dim = 1, .scale = 2, .sinks = "sinks"});
  const float a = std::exp(2.0F), b = std::exp(4.0F), s = std::exp(1.0F);
  expect_near(run(d, y, 2, {{0, 0, 1, 0}, {1, 2}, {10, 20}}, {{"sinks", {1, 100}}}),
              {10 / (1 + s), 0, (10 * a + 20 * b) / (a + b + s), 0});
}

// The gate is bounded above, the other factor on both sides.
TEST(Reference, ClampedSwiglu) {
  Drawing d;
  const Value gate = d.input(token_rows(4)), up = d.input(token_rows(4));
  const float a = 2 / (1 + std::exp(-1.0F)), b = -4 / (1 + std::exp(2.0F)), c = 3 / (1 + std::exp(-1.5F));
  expect_near(run(d, d.clamped_swiglu(gate, up, {.alpha = 0.5F, .limit = 3}), 1, {{2, -4, 90, 90}, {1, -5, 5, -1}}),
              {2 * a, -2 * b, 4 * c, 0});
}

TEST(Costs, CountMultiplicationsOfATokenAndOfItsPast) {
  const Dimensions x = token_rows(8);
  const std::vector<Dimensions> one = {x}, three = {x, x, x};
  EXPECT_EQ((Linear{.part = "w", .site = "in", .rows = 5}.cost(one).per_token), 40u);
  EXPECT_EQ((Attention{.heads = 4, .kv_heads = 4, .head_dim = 2}.cost(three).per_earlier_token), 16u);
  EXPECT_EQ(Embedding{}.cost({}).per_token, 0u);
}

}  // namespace
}  // namespace nibble
