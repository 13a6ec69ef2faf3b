// SPDX-License-Identifier: Apache-2.0
//
// What single experts see while text walks by, against sums over the walk's own values in f64.
#include "calibrate/site_observer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "calibrate/walked_model.h"
#include "quantize/pooled_moment.h"

namespace nibble {
namespace {

using Rows = std::vector<std::vector<double>>;

Rows rows_of(std::span<const float> values, std::size_t width) {
  Rows rows;
  for (std::size_t i = 0; i < values.size(); i += width) rows.emplace_back(&values[i], &values[i] + width);
  return rows;
}

std::vector<double> product(const Matrix& matrix, const std::vector<double>& x) {
  std::vector<double> y(matrix.rows);
  for (std::size_t r = 0; r < matrix.rows; ++r)
    for (std::size_t i = 0; i < matrix.cols; ++i)
      y[r] += static_cast<double>(matrix.values[r * matrix.cols + i]) * x[i];
  return y;
}

// Of one expert's Linear.
std::vector<double> outputs(const LayerWeights& layer, const std::string& part, std::int64_t expert,
                            const std::vector<double>& x) {
  std::vector<double> y = product(layer.at(expert_part(part, static_cast<std::uint64_t>(expert))), x);
  const std::string bias = expert_part(part + ".bias", static_cast<std::uint64_t>(expert));
  for (std::size_t i = 0; i < y.size() && layer.has(bias); ++i) y[i] += static_cast<double>(layer.at(bias).values[i]);
  return y;
}

std::vector<double> gated(const ModelConfig& config, const std::vector<double>& gate, const std::vector<double>& up) {
  const double limit = static_cast<double>(config.swiglu_limit), alpha = static_cast<double>(config.swiglu_alpha);
  std::vector<double> y(gate.size());
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double g = limit == 0 ? gate[i] : std::min(gate[i], limit);
    y[i] = limit == 0 ? g / (1 + std::exp(-g)) * up[i]
                      : g / (1 + std::exp(-alpha * g)) * (std::clamp(up[i], -limit, limit) + 1);
  }
  return y;
}

class ExpertSites : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Models, ExpertSites, testing::Values("tiny_mixtral", "tiny_qwen3moe", "tiny_gptoss"),
                         [](const auto& p) { return p.param; });

// The rows of an expert are those of the tokens that the router sends to it, in their order; behind its gate and up
// they are what these make of them. Asking for some experts gives them the same rows.
TEST_P(ExpertSites, ShowEachExpertItsTokens) {
  WalkedModel model(GetParam(), 16);
  std::size_t seen_rows = 0;
  model.walk_through({}, [&](const Site& site, const LayerWeights& layer) {
    if (site.experts == 0) return;
    const Site& router = layer.drawing().sites[2];
    ASSERT_EQ(router.parts.front(), "router");
    for (std::size_t window = 0; window < model.walk.windows(); ++window) {
      const auto h = model.walk.inputs(router, layer, window);
      const Rows tokens = rows_of(h, router.width);
      const auto routing = model.walk.routing_of(site, layer, window);
      for (std::int64_t e = 0; e < site.end_expert(); ++e) {
        Rows expected;
        for (std::size_t t = 0; t < tokens.size(); ++t) {
          if (routing[t * site.experts + static_cast<std::size_t>(e)] == 0) continue;
          if (!site.has_own_inputs) {
            expected.push_back(tokens[t]);
            continue;
          }
          const std::vector<double> gate = outputs(layer, "expert_gate", e, tokens[t]),
                                    up = outputs(layer, "expert_up", e, tokens[t]);
          expected.push_back(gated(model.config, gate, up));
        }
        for (const ExpertRange asked : {ExpertRange{0, site.end_expert()}, ExpertRange{e, e + 1}}) {
          model.walk.inputs(site, layer, window, asked, {});
          const Rows found = rows_of(model.walk.inputs_of(site, e), site.width);
          ASSERT_EQ(found.size(), expected.size());
          for (std::size_t row = 0; row < found.size(); ++row)
            for (std::size_t i = 0; i < site.width; ++i)
              ASSERT_NEAR(found[row][i], expected[row][i], 1e-5 * (1 + std::fabs(expected[row][i])));
          seen_rows += found.size();
        }
      }
    }
  });
  EXPECT_EQ(seen_rows, 2 * 2 * model.config.layers * model.config.experts_used * model.tokens.ids.size());
}

// Groups of experts see what all see at once; the pooled moment is the mean of theirs.
TEST_P(ExpertSites, AreObservedInGroups) {
  WalkedModel model(GetParam(), 16);
  model.walk_through({}, [&](const Site& site, const LayerWeights& layer) {
    if (site.experts == 0) return;
    const AccumulateOptions accumulate{.second_moment = true};
    const std::vector<SiteStatistics> all =
        observe_site(model.walk, site, layer, 0, {0, site.end_expert()}, accumulate, model.machine);
    const std::vector<ExpertRange> groups = expert_groups(site, kExpertMomentBytes);
    ASSERT_EQ(groups.size(), site.experts);
    const std::vector<std::uint64_t> tokens = count_tokens(model.walk, site, layer);
    std::vector<const SiteStatistics*> known;
    for (std::size_t e = 0; e < all.size(); ++e) {
      known.push_back(&all[e]);
      const std::vector<SiteStatistics> alone =
          observe_site(model.walk, site, layer, 0, groups[e], accumulate, model.machine);
      ASSERT_EQ(alone.size(), 1u);
      EXPECT_EQ(alone[0].name(), "layers.0." + site.name + "." + std::to_string(e));
      EXPECT_EQ(alone[0].second_moment, all[e].second_moment);
      EXPECT_EQ(alone[0].histogram, all[e].histogram);
      EXPECT_EQ(alone[0].count, tokens[e]);
    }
    const SiteStatistics pooled = observe_pooled(model.walk, site, layer, 0, accumulate, model.machine),
                         mean = pool_experts(known);
    EXPECT_EQ(pooled.name(), mean.name());
    double largest = 0;
    for (const float value : mean.second_moment) largest = std::max(largest, std::fabs(static_cast<double>(value)));
    for (std::size_t i = 0; i < mean.second_moment.size(); ++i)
      ASSERT_NEAR(pooled.second_moment[i], mean.second_moment[i], 1e-5 * largest);
  });
}

// Whoever is told another routing sees the rows of that one.
TEST_P(ExpertSites, FollowARoutingThatIsGiven) {
  WalkedModel model(GetParam(), 16);
  model.walk_through({}, [&](const Site& site, const LayerWeights& layer) {
    if (site.experts == 0) return;
    std::vector<float> routing(model.walk.length() * site.experts);
    for (std::size_t t = 0; t < model.walk.length(); ++t)
      for (std::size_t i = 0; i < site.used; ++i) routing[t * site.experts + i] = 0.5F;
    model.walk.inputs(site, layer, 0, {0, site.end_expert()}, routing);
    for (std::int64_t e = 0; e < site.end_expert(); ++e)
      EXPECT_EQ(model.walk.inputs_of(site, e).size(),
                e < static_cast<std::int64_t>(site.used) ? model.walk.length() * site.width : 0);
  });
}

}  // namespace
}  // namespace nibble
