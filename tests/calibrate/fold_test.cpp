// SPDX-License-Identifier: Apache-2.0
//
// Scales that fold away must leave what the model computes as it was.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/random.h"
#include "calibrate/fold.h"
#include "calibrate/walked_model.h"

namespace nibble {
namespace {

class Fold : public testing::TestWithParam<std::string> {};

TEST_P(Fold, LeavesTheFunctionUnchanged) {
  WalkedModel model(GetParam(), 16);
  model.walk_through({});
  const std::vector<float> before = model.outputs(0);
  const bool is_bounded = model.config.swiglu_limit != 0, is_gemma4 = model.config.architecture == "gemma4",
             reads_stream = model.config.architecture == "olmo2";
  Random random(4);
  std::size_t folded = 0;
  const auto fold_randomly = [&](const FoldSite& fold, LayerWeights& layer) {
    const std::size_t columns = layer.at(fold.consumers[0]).cols;
    std::vector<float> scales(columns), of_channel(*std::ranges::max_element(fold.channel_of) + 1);
    for (float& s : of_channel) s = static_cast<float>(std::exp2(6 * random.uniform() - 3));
    for (std::size_t i = 0; i < columns; ++i) scales[i] = of_channel[fold.channel_of[i]];
    const std::vector<float> untouched = layer.at(fold.consumers[0]).values;
    fold_scales(fold, scales, layer);
    folded += layer.at(fold.consumers[0]).values != untouched ? 1 : 0;
  };
  model.walk_through([&](LayerWeights& layer) {
    for (std::size_t site = 0; site < layer.drawing().sites.size(); ++site) {
      const std::optional<FoldSite>& fold = layer.drawing().folds[site];
      const Site& folded_site = layer.drawing().sites[site];
      // A router's scales are those of its experts, who read the same; the heads of a recurrent layer share a norm; a
      // bounded gate lets none pass. Gemma 4's values are normed, its router has a norm of its own, and what is a
      // layer's own input, or the stream itself, has no norm before it.
      const bool has_router = !is_gemma4 && std::ranges::find(folded_site.parts, "router") != folded_site.parts.end();
      const bool is_stopped = folded_site.name == "delta_out" || (is_bounded && folded_site.name == "experts_out") ||
                              (is_gemma4 && folded_site.name == "attention_out") ||
                              folded_site.name.starts_with("per_layer") ||
                              (reads_stream && folded_site.name.ends_with("_in"));
      ASSERT_EQ(fold.has_value(), !has_router && !is_stopped) << folded_site.name;
      if (!fold) continue;
      ASSERT_EQ(fold->is_by_expert, folded_site.name == "experts_out");
      if (fold->is_by_expert) {
        for (std::int64_t e = 0; e < folded_site.end_expert(); ++e)
          fold_randomly(fold_of_expert(*fold, folded_site, e), layer);
      } else {
        fold_randomly(*fold, layer);
      }
    }
  });
  std::size_t expected = 0;
  for (std::int64_t layer = 0; layer < static_cast<std::int64_t>(model.config.layers); ++layer) {
    const bool has_rule = model.config.is_recurrent(layer) && model.config.delta_heads != 0;
    expected += has_rule || is_gemma4 ? 1 : 2;
    if (is_gemma4 && model.config.num_experts != 0) expected += 3;  // the MLP's two, and the router's
    if (model.config.latent != 0) expected += model.config.query_latent == 0 ? 1 : 2;
    const bool has_experts = model.config.has_experts(layer);
    expected += !has_experts ? 2 : 1 + (is_bounded ? 0 : model.config.num_experts);
    expected += has_experts && model.config.shared_intermediate != 0 ? 1 : 0;
    expected -= reads_stream ? 2 : 0;
  }
  EXPECT_EQ(folded, expected);
  EXPECT_LT(relative_difference(model.outputs(0), before), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Models, Fold, testing::ValuesIn(tiny_models()), [](const auto& p) { return p.param; });

}  // namespace
}  // namespace nibble
