// SPDX-License-Identifier: Apache-2.0
//
// What follows from a drawing: sites, folds, parameters.
#include "graph/facts.h"

#include <gtest/gtest.h>

#include "graph/drawing.h"
#include "graph/network.h"
#include "nibble/error.h"

namespace nibble {
namespace {

constexpr std::uint64_t kHidden = 8, kWide = 12;

struct Layer {
  Drawing d;
  Value x = d.input(token_rows(kHidden));
  Value h = d.rms_norm(x, "norm", 1e-5F);

  DrawnGraph finish(const std::vector<Value>& outputs) { return DrawnGraph(std::move(d).finish(outputs)); }
};

TEST(Sites, AreLinearsThatReadTheSameValue) {
  Layer l;
  const auto [gate, up] = l.d.linears(l.h, "mlp_in", {{"gate", kWide}, {"up", kWide, true}});
  const Value y = l.d.add(l.x, l.d.linear(l.d.multiply(l.d.silu(gate), up), "mlp_out", {"down", kHidden}));
  const DrawnGraph drawn = l.finish({y});
  ASSERT_EQ(drawn.sites.size(), 2u);
  EXPECT_EQ(drawn.sites[0].name, "mlp_in");
  EXPECT_EQ(drawn.sites[0].parts, (std::vector<std::string>{"gate", "up"}));
  EXPECT_EQ(drawn.sites[0].width, kHidden);
  EXPECT_FALSE(drawn.sites[0].added);
  EXPECT_EQ(drawn.sites[1].width, kWide);
  ASSERT_TRUE(drawn.sites[1].added);
  EXPECT_EQ(drawn.sites[1].added->term, l.x.id());
  EXPECT_EQ(drawn.sites[1].added->sum, y.id());
  EXPECT_EQ(drawn.find_site("mlp_out"), &drawn.sites[1]);
  EXPECT_EQ(drawn.find_site("none"), nullptr);
  EXPECT_EQ(linear_parameters(drawn.graph), 3 * kHidden * kWide);
  EXPECT_TRUE(drawn.graph.states.empty());
}

TEST(Folds, GoBackThroughTheLinearFactorOnly) {
  Layer l;
  const auto [gate, up] = l.d.linears(l.h, "mlp_in", {{"gate", kWide}, {"up", kWide}});
  const DrawnGraph drawn = l.finish({l.d.linear(l.d.multiply(l.d.silu(gate), up), "mlp_out", {"down", kHidden})});
  ASSERT_TRUE(drawn.folds[0] && drawn.folds[1]);
  EXPECT_EQ(drawn.folds[0]->producer, "norm");
  EXPECT_TRUE(drawn.folds[0]->is_norm);
  EXPECT_EQ(drawn.folds[1]->producer, "up");
  EXPECT_FALSE(drawn.folds[1]->is_norm);
  EXPECT_EQ(drawn.folds[1]->consumers, (std::vector<std::string>{"down"}));
}

TEST(Folds, StopAtActivationsSumsAndInputs) {
  Layer l;
  const Value after = l.d.silu(l.d.linear(l.h, "a_in", {"a", kHidden}));
  const Value sum = l.d.add(after, l.x);
  const DrawnGraph drawn = l.finish({l.d.linear(after, "b_in", {"b", kHidden}), l.d.linear(sum, "c_in", {"c", kHidden}),
                                     l.d.linear(l.x, "d_in", {"d", kHidden})});
  EXPECT_TRUE(drawn.folds[0]);
  for (std::size_t i = 1; i < 4; ++i) EXPECT_FALSE(drawn.folds[i]) << drawn.sites[i].name;
}

// The norm feeds something else besides, which a scale would change.
TEST(Folds, NeedAllReadersOfAValue) {
  Layer l;
  const Value a = l.d.linear(l.h, "a_in", {"a", kHidden});
  const DrawnGraph drawn = l.finish({l.d.add(a, l.h)});
  EXPECT_FALSE(drawn.folds[0]);
  Layer shown;
  const Value b = shown.d.linear(shown.h, "b_in", {"b", kHidden});
  EXPECT_FALSE(shown.finish({b, shown.h}).folds[0]);
}

TEST(Folds, RepeatPerQueryHeadWhereHeadsAreShared) {
  Layer l;
  const Attention attention{.heads = 4, .kv_heads = 2, .head_dim = 2, .window = 30};
  const auto [q, k, v] = l.d.linears(l.h, "attention_in", {{"q", 8}, {"k", 4}, {"v", 4}});
  const DrawnGraph drawn = l.finish({l.d.linear(l.d.attention(q, k, v, attention), "attention_out", {"o", kHidden})});
  ASSERT_TRUE(drawn.folds[1]);
  EXPECT_EQ(drawn.folds[1]->producer, "v");
  EXPECT_EQ(drawn.folds[1]->channel_of, (std::vector<std::uint32_t>{0, 1, 0, 1, 2, 3, 2, 3}));
  EXPECT_EQ(drawn.graph.states, (std::vector<KeyValueState>{{.kv_heads = 2, .head_dim = 2, .window = 30}}));
}

// Experts have sites of their own: rows of what their router reads, whose scales meet them all, and what they make.
TEST(Sites, OfExpertsKnowTheirRouting) {
  Layer l;
  const Value routing = l.d.route(l.d.linear(l.h, "mlp_in", {"router", 3, false, TensorRole::router}), {.used = 2});
  const Value gate = l.d.expert_linear(l.h, routing, "a_in", "gate", 4),
              up = l.d.expert_linear(l.h, routing, "a_in", "up", 4, true);
  const Value y = l.d.expert_linear(l.d.multiply(l.d.silu(gate), up), routing, "b_in", "down", kHidden, true);
  const DrawnGraph drawn = l.finish({l.d.mix_experts(y, routing)});
  ASSERT_EQ(drawn.sites.size(), 3u);
  EXPECT_EQ(drawn.sites[0].parts, (std::vector<std::string>{"router"}));
  EXPECT_EQ(drawn.sites[0].experts, 0u);
  const Site &in = drawn.sites[1], &out = drawn.sites[2];
  EXPECT_EQ(in.parts, (std::vector<std::string>{"gate.0", "up.0", "gate.1", "up.1", "gate.2", "up.2"}));
  EXPECT_EQ(out.parts_of(1).front(), "down.1");
  EXPECT_EQ(in.input, drawn.sites[0].input);
  for (const Site* const site : {&in, &out}) {
    EXPECT_EQ(site->experts, 3u);
    EXPECT_EQ(site->used, 2u);
    EXPECT_EQ(site->routing, routing.id());
  }
  EXPECT_EQ(in.numbers_per_token(), kHidden);
  EXPECT_EQ(out.numbers_per_token(), 2 * 4u);
  EXPECT_FALSE(drawn.folds[0]);
  ASSERT_TRUE(drawn.folds[1]);
  EXPECT_TRUE(drawn.folds[1]->is_norm);
  EXPECT_EQ(drawn.folds[1]->consumers,
            (std::vector<std::string>{"router", "gate.0", "gate.1", "gate.2", "up.0", "up.1", "up.2"}));
  ASSERT_TRUE(drawn.folds[2]);
  const FoldSite own = fold_of_expert(*drawn.folds[2], out, 2);
  EXPECT_EQ(own.producer, "up.2");
  EXPECT_EQ(own.consumers, (std::vector<std::string>{"down.2"}));
  EXPECT_EQ(linear_parameters(drawn.graph), 3 * (2 * 4 * kHidden + kHidden * 4));
}

// One scale of what all experts give meets weights of each: it stays where it is.
TEST(Folds, StopAtAMixOfExperts) {
  Layer l;
  const Value routing = l.d.route(l.d.linear(l.x, "mlp_in", {"router", 3, false, TensorRole::router}), {.used = 1});
  const Value y = l.d.mix_experts(l.d.expert_linear(l.h, routing, "a_in", "a", kHidden), routing);
  EXPECT_FALSE(l.finish({l.d.linear(y, "b_in", {"b", kHidden})}).folds[2]);
}

// Rows of a matrix that is several projections take scales of their own, as long as nothing else reads these channels.
TEST(Folds, GoThroughSlices) {
  const auto draw = [](bool reads_again) {
    Layer l;
    const Value both = l.d.linear(l.h, "mlp_in", {"gate_up", 2 * kWide});
    const Value y = l.d.multiply(l.d.silu(l.d.slice(both, 0, kWide)), l.d.slice(both, kWide, kWide));
    std::vector<Value> outputs = {l.d.linear(y, "mlp_out", {"down", kHidden})};
    if (reads_again) outputs.push_back(l.d.slice(both, 2 * kWide - 1, 1));
    return l.finish(outputs);
  };
  const std::optional<FoldSite> fold = draw(false).folds[1];
  ASSERT_TRUE(fold);
  EXPECT_EQ(fold->producer, "gate_up");
  EXPECT_FALSE(fold->is_norm);
  for (std::uint32_t i = 0; i < kWide; ++i) EXPECT_EQ(fold->channel_of[i], kWide + i);
  EXPECT_FALSE(draw(true).folds[1]);
}

// A value that is read twice by one operation, and a weight that two operations read.
TEST(Folds, CountReadsNotReaders) {
  Layer l;
  const Value u = l.d.linear(l.h, "a_in", {"a", kHidden});
  const DrawnGraph drawn = l.finish({l.d.linear(l.d.multiply(u, u), "b_in", {"b", kHidden})});
  EXPECT_FALSE(drawn.folds[1]);
  Layer shared;
  const Value once = shared.d.linear(shared.h, "a_in", {"a", kHidden});
  const Value again = shared.d.linear(shared.x, "c_in", {"a", kHidden});
  EXPECT_FALSE(shared.finish({shared.d.linear(once, "b_in", {"b", kHidden}), again}).folds[1]);
}

TEST(Sites, HaveOneNameEach) {
  const auto draw = [](const char* first, const char* second, bool same_value) {
    Layer l;
    l.d.linear(l.h, first, {"a", kHidden});
    l.d.linear(same_value ? l.h : l.x, second, {"b", kHidden});
    return l.finish({l.x}).sites.size();
  };
  EXPECT_EQ(draw("in", "in", true), 1u);
  EXPECT_EQ(draw("in", "other", false), 2u);
  EXPECT_THROW(draw("in", "other", true), Error);
  EXPECT_THROW(draw("in", "in", false), Error);
}

// A tied head's columns are the embedding's: scaling them would change what is looked up.
TEST(Folds, LeaveATiedHeadAlone) {
  for (const bool tied : {false, true}) {
    Layer l;
    const LinearSpec head{"head", 100, false, tied ? TensorRole::embedding : TensorRole::head};
    EXPECT_EQ(l.finish({l.d.linear(l.h, "head_in", head)}).folds[0].has_value(), !tied);
  }
}

TEST(Networks, ShareDrawingsThatAreAlike) {
  const auto layer = [](std::uint64_t rows) {
    Layer l;
    return std::move(l.d).finish({l.d.linear(l.h, "in", {"w", rows})});
  };
  const Network network(layer(8), {layer(8), layer(16), layer(8)}, layer(8));
  EXPECT_EQ(&network.layer(0), &network.layer(2));
  EXPECT_NE(&network.layer(0), &network.layer(1));
  EXPECT_EQ(network.linear_parameters(), kHidden * (8 + 16 + 8));
}

TEST(Drawings, RefuseWhatDoesNotFit) {
  const auto draw = [](auto&& wrong) {
    Layer l;
    wrong(l);
  };
  EXPECT_THROW(draw([](Layer& l) { l.d.add(l.x, l.d.linear(l.h, "in", {"w", 3})); }), Error);
  EXPECT_THROW(draw([](Layer& l) { l.d.slice(l.x, kHidden - 1, 2); }), Error);
  EXPECT_THROW(draw([](Layer& l) { l.d.soft_cap(l.x, 0); }), Error);
  EXPECT_THROW(draw([](Layer& l) { l.d.multiply(l.x, l.d.linear(l.h, "in", {"w", 3})); }), Error);
  EXPECT_THROW(draw([](Layer& l) { l.d.rms_norm_heads(l.x, "w", 0, 3); }), Error);
  EXPECT_THROW(draw([](Layer& l) { l.d.rope(l.x, {.head_dim = 3, .frequencies = {1}}); }), Error);
  EXPECT_THROW(draw([](Layer& l) { l.d.rope(l.x, {.head_dim = 4, .frequencies = {1, 2, 3}}); }), Error);
  EXPECT_THROW(draw([](Layer& l) { l.d.attention(l.x, l.x, l.x, {.heads = 4, .kv_heads = 3, .head_dim = 2}); }), Error);
  EXPECT_THROW(draw([](Layer& l) { l.d.attention(l.x, l.x, l.x, {.heads = 4, .kv_heads = 2, .head_dim = 2}); }), Error);
}

}  // namespace
}  // namespace nibble
