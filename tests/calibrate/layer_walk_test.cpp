// SPDX-License-Identifier: Apache-2.0
//
// The walk, layer by layer, against the decoder, which the logits of an independent implementation hold in place.
#include <gtest/gtest.h>

#include "calibrate/calibrate.h"
#include "calibrate/layer_walk.h"
#include "model/tiny_models.h"

namespace nibble {
namespace {

CalibrationTokens tokens_of(const ReferenceLogits& reference, std::size_t length) {
  CalibrationTokens tokens;
  tokens.length = length;
  tokens.ids.assign(reference.ids.begin(), reference.ids.begin() + static_cast<std::ptrdiff_t>(reference.ids.size() / length * length));
  return tokens;
}

class Walk : public testing::TestWithParam<const char*> {};

TEST_P(Walk, EndsWhereTheDecoderEnds) {
  const Checkpoint checkpoint = Checkpoint::open(data_directory() / GetParam());
  const ReferenceLogits reference = ReferenceLogits::read(GetParam());
  const CalibrationTokens tokens = tokens_of(reference, 16);
  ThreadPool pool(2);
  const ModelConfig config = read_model_config(checkpoint);
  const ModelTensors tensors(config);
  LayerWalk walk(config, tokens, exact_options().kernels, pool);
  const StoredTensor& embedding = checkpoint.tensor(tensors.part("embedding", -1)->hf_name);
  walk.embed([&](std::int32_t id, float* out) { embedding.view.decode_row(static_cast<std::uint64_t>(id), {out, config.hidden}); });
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(config.layers); ++i) {
    const LayerWeights layer(checkpoint, tensors, i, pool);
    for (const Step step : kSteps) {
      walk.pack(step, layer);
      EXPECT_EQ(walk.inputs(step, layer, 0).size(), 16 * walk.width_of(step));
      walk.leave(step, layer);
    }
  }
  const Matrix norm = decode_matrix(checkpoint.tensor(tensors.part("final_norm", -1)->hf_name), pool);
  const ModelTensor* const head = tensors.part("head", -1) != nullptr ? tensors.part("head", -1) : tensors.part("embedding", -1);
  const Matrix head_weights = decode_matrix(checkpoint.tensor(head->hf_name), pool);
  Decoder decoder(checkpoint, exact_options(), pool);
  for (std::size_t window = 0; window < tokens.windows(); ++window) {
    const auto x = walk.head_inputs(norm.values, window);
    std::vector<float> logits(16 * config.vocab_size);
    for (std::size_t t = 0; t < 16; ++t)
      for (std::size_t v = 0; v < config.vocab_size; ++v)
        for (std::size_t i = 0; i < config.hidden; ++i)
          logits[t * config.vocab_size + v] += x[t * config.hidden + i] * head_weights.values[v * config.hidden + i];
    const std::vector<std::int32_t> ids(tokens.window(window).begin(), tokens.window(window).end());
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
