// SPDX-License-Identifier: Apache-2.0
//
// A layer walked site by site, with nothing between two sites but what the plan keeps, ends where the whole layer does.
#include "calibrate/walk_plan.h"

#include <gtest/gtest.h>

#include "engine/drawn_layers.h"

namespace nibble {
namespace {

class EveryPlan : public testing::TestWithParam<DrawnLayer> {};
INSTANTIATE_TEST_SUITE_P(All, EveryPlan, testing::ValuesIn(drawn_layers()),
                         [](const auto& layer) { return layer.param.name; });

TEST_P(EveryPlan, EndsWhereTheLayerEnds) {
  Runnable model(GetParam().graph);
  const std::vector<float> expected = model.expected();
  const DrawnGraph drawing(GetParam().graph);
  const WalkPlan plan(drawing, model.workspace.rotary);
  std::vector<std::vector<float>> stores;
  for (const std::uint64_t width : plan.widths) stores.emplace_back(kTokens * width);
  stores[0] = model.x;
  const auto place = [&](ValueId value) { return stores[plan.store_of.at(value)].data(); };
  for (std::size_t i = 0; i < drawing.sites.size(); ++i) {
    const SitePlan& site = plan.sites[i];
    std::vector<float> input(kTokens * drawing.sites[i].numbers_per_token());
    std::vector<float*> given, wanted;
    for (const ValueId value : site.kept) given.push_back(place(value));
    if (!site.is_kept) {
      // What is looked at first changes nothing: it may be asked for again.
      for (int times = 0; times < 2; ++times) model.run(site.inputs, given, {input.data()});
      given.push_back(input.data());
    }
    for (const ValueId value : site.made) wanted.push_back(place(value));
    model.run(site.leave, given, wanted);
  }
  const float* const end = place(drawing.graph.outputs.front());
  expect_close(std::vector<float>(end, end + kTokens * kHidden), expected);
}

TEST(WalkPlans, KeepAStreamAndWhatAttentionGives) {
  const DrawnGraph drawing(drawn_layers().front().graph);
  RotaryTables rotary;
  const WalkPlan plan(drawing, rotary);
  ASSERT_EQ(plan.sites.size(), 4u);
  EXPECT_EQ(plan.widths, (std::vector<std::uint64_t>{kHidden, 16}));
  EXPECT_TRUE(plan.sites[1].is_kept);
  EXPECT_TRUE(plan.sites[2].made.empty());
  EXPECT_TRUE(plan.sites[3].has_products);
  EXPECT_EQ(plan.store_of.at(drawing.graph.outputs.front()), 0u);
}

}  // namespace
}  // namespace nibble
