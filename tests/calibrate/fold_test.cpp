// SPDX-License-Identifier: Apache-2.0
//
// Scales that fold away must leave what the model computes as it was.
#include <gtest/gtest.h>

#include <cmath>

#include "base/random.h"
#include "calibrate/fold.h"
#include "model/tiny_models.h"

namespace nibble {
namespace {

// The final norm's outputs of one window, each layer changed by `change` first.
template <class Change>
std::vector<float> outputs(const Checkpoint& checkpoint, const CalibrationTokens& tokens, Change change) {
  ThreadPool pool(2);
  const ModelConfig config = read_model_config(checkpoint);
  const ModelTensors tensors(config);
  LayerWalk walk(config, tokens, exact_options().kernels, pool);
  const StoredTensor& embedding = checkpoint.tensor(tensors.part("embedding", -1)->hf_name);
  walk.embed([&](std::int32_t id, float* out) { embedding.view.decode_row(static_cast<std::uint64_t>(id), {out, config.hidden}); });
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(config.layers); ++i) {
    LayerWeights layer(checkpoint, tensors, i, pool);
    change(config, tensors, layer);
    for (const Step step : kSteps) {
      walk.pack(step, layer);
      walk.leave(step, layer);
    }
  }
  const Matrix norm = decode_matrix(checkpoint.tensor(tensors.part("final_norm", -1)->hf_name), pool);
  const auto x = walk.head_inputs(norm.values, 0);
  return {x.begin(), x.end()};
}

class Fold : public testing::TestWithParam<const char*> {};

TEST_P(Fold, LeavesTheFunctionUnchanged) {
  const Checkpoint checkpoint = Checkpoint::open(data_directory() / GetParam());
  CalibrationTokens tokens;
  tokens.length = 16;
  const auto ids = ReferenceLogits::read(GetParam()).ids;
  tokens.ids.assign(ids.begin(), ids.begin() + 16);
  const std::vector<float> before = outputs(checkpoint, tokens, [](const ModelConfig&, const ModelTensors&, LayerWeights&) {});
  Random random(4);
  std::size_t folded = 0;
  const std::vector<float> after = outputs(checkpoint, tokens, [&](const ModelConfig& config, const ModelTensors& tensors, LayerWeights& layer) {
    for (const Step step : kSteps) {
      const FoldSite* const fold = find_fold(tensors.architecture(), step);
      ASSERT_NE(fold, nullptr);
      const std::size_t columns = layer.at(fold->consumers[0]).cols;
      const auto channel_of = fold_channels(*fold, config, columns);
      std::vector<float> scales(columns), of_channel(columns);
      for (float& s : of_channel) s = static_cast<float>(std::exp2(6 * random.uniform() - 3));
      for (std::size_t i = 0; i < columns; ++i) scales[i] = of_channel[channel_of[i]];
      const std::vector<float> untouched = layer.at(fold->consumers[0]).values;
      fold_scales(*fold, channel_of, scales, layer);
      folded += layer.at(fold->consumers[0]).values != untouched ? 1 : 0;
    }
  });
  EXPECT_EQ(folded, 4 * read_model_config(checkpoint).layers);
  EXPECT_LT(relative_difference(after, before), 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Models, Fold, testing::Values("tiny_tied", "tiny_gqa_llama3rope"));

}  // namespace
}  // namespace nibble
