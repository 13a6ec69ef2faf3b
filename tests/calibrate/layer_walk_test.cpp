// SPDX-License-Identifier: Apache-2.0
//
// The walk, layer by layer, against the decoder, which the logits of an independent implementation hold in place.
#include <gtest/gtest.h>

#include "calibrate/calibrate.h"
#include "calibrate/walked_model.h"

namespace nibble {
namespace {

class Walk : public testing::TestWithParam<const char*> {};

TEST_P(Walk, EndsWhereTheDecoderEnds) {
  WalkedModel model(GetParam(), 16);
  const std::size_t hidden = model.config.hidden, vocab = model.config.vocab_size;
  model.walk_through(
      {}, [&](Step step, const LayerWeights& layer) { EXPECT_EQ(model.walk.inputs(step, layer, 0).size(), 16 * model.walk.width_of(step)); });
  const Matrix head = model.matrix(model.config.tied_embedding ? "embedding" : "head");
  Decoder decoder(model.checkpoint, exact_options(), model.pool);
  for (std::size_t window = 0; window < model.tokens.windows(); ++window) {
    const std::vector<float> x = model.outputs(window);
    std::vector<float> logits(16 * vocab);
    for (std::size_t t = 0; t < 16; ++t)
      for (std::size_t v = 0; v < vocab; ++v)
        for (std::size_t i = 0; i < hidden; ++i) logits[t * vocab + v] += x[t * hidden + i] * head.values[v * hidden + i];
    const std::vector<std::int32_t> ids(model.tokens.window(window).begin(), model.tokens.window(window).end());
    // The products are the same; only the head's sum here runs in another order.
    EXPECT_LT(relative_difference(logits, all_logits(decoder, ids)), 1e-5);
  }
}

INSTANTIATE_TEST_SUITE_P(Models, Walk, testing::Values("tiny_tied", "tiny_gqa_llama3rope"));

TEST(CollectStatistics, IsIndifferentToThreadsAndSeesEverySite) {
  const Checkpoint checkpoint = Checkpoint::open(data_directory() / "tiny_tied");
  const CalibrationTokens tokens = tokens_of(ReferenceLogits::read("tiny_tied"), 16);
  ThreadPool one(1), three(3);
  const CollectOptions options{.kernels = exact_options().kernels, .second_moments = true};
  const Statistics a = collect_statistics(checkpoint, tokens, options, one), b = collect_statistics(checkpoint, tokens, options, three);
  ASSERT_EQ(a.sites.size(), read_model_config(checkpoint).layers * 4 + 1);
  for (std::size_t i = 0; i < a.sites.size(); ++i) {
    EXPECT_EQ(a.sites[i].second_moment, b.sites[i].second_moment) << a.sites[i].name();
    EXPECT_EQ(a.sites[i].count, tokens.ids.size());
  }
  EXPECT_NE(a.find(-1, kHeadSite), nullptr);
  EXPECT_NE(a.find(0, "mlp_out"), nullptr);
  EXPECT_EQ(a.find(99, "mlp_out"), nullptr);
}

}  // namespace
}  // namespace nibble
