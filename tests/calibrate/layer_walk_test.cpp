// SPDX-License-Identifier: Apache-2.0
//
// The walk, layer by layer, against the decoder, which the logits of an independent implementation hold in place.
#include <gtest/gtest.h>

#include <algorithm>
#include <span>

#include "calibrate/calibrate.h"
#include "calibrate/walked_model.h"
#include "kernels/chosen_isa.h"

namespace nibble {
namespace {

class Walk : public testing::TestWithParam<std::string> {};

TEST_P(Walk, EndsWhereTheDecoderEnds) {
  WalkedModel model(GetParam(), 16);
  const std::size_t hidden = model.config.hidden, vocab = model.config.vocab_size;
  model.walk_through({}, [&](const Site& site, const LayerWeights& layer) {
    EXPECT_EQ(model.walk.inputs(site, layer, 0).size(), 16 * site.numbers_per_token());
  });
  const Matrix head = model.matrix(model.config.tied_embedding ? "embedding" : "head");
  Decoder decoder(model.checkpoint, exact_options(), model.machine);
  for (std::size_t window = 0; window < model.tokens.windows(); ++window) {
    const std::vector<float> x = model.outputs(window);
    std::vector<float> logits(16 * vocab);
    for (std::size_t t = 0; t < 16; ++t)
      for (std::size_t v = 0; v < vocab; ++v)
        for (std::size_t i = 0; i < hidden; ++i)
          logits[t * vocab + v] += x[t * hidden + i] * head.values[v * hidden + i];
    model.walk.finish_logits(logits, 16);
    const std::vector<std::int32_t> ids(model.tokens.window(window).begin(), model.tokens.window(window).end());
    // The products are the same; only the head's sum here runs in another order.
    EXPECT_LT(relative_difference(logits, all_logits(decoder, ids)), 1e-5);
  }
}

// A walk in 8 bits ends near one in f32, with the same bits for any number of threads and on any instruction set.
TEST_P(Walk, InEightBitsIsNearTheExactOne) {
  WalkedModel exact(GetParam(), 16), rounded(GetParam(), 16, WalkArithmetic::int8);
  exact.walk_through({});
  rounded.walk_through({});
  // Of random weights and rows of some 64 numbers, which give the roundings little to average over. Tokens that are
  // sent to other experts differ by more than roundings: of networks with experts the token in the middle counts.
  const std::vector<float> found = rounded.outputs(0), expected = exact.outputs(0);
  const std::size_t width = exact.config.hidden;
  std::vector<double> differences;
  for (std::size_t at = 0; at < expected.size(); at += width)
    differences.push_back(
        relative_difference(std::span(found).subspan(at, width), std::span(expected).subspan(at, width)));
  std::ranges::sort(differences);
  const bool is_sparse = exact.config.num_experts != 0;
  EXPECT_LT(is_sparse ? differences[differences.size() / 2] : relative_difference(found, expected), 0.15);
  EXPECT_NE(found, expected);
}

TEST(LayerWalk, GoesThroughWindowsOneByOneOrAllAtOnce) {
  WalkedModel all("tiny_tied", 16), single("tiny_tied", 16);
  all.walk_through({});
  const Matrix embedding = single.matrix("embedding");
  single.walk.embed(
      [&](std::string_view, std::int32_t id, float* out) {
        std::copy_n(&embedding.values[static_cast<std::size_t>(id) * embedding.cols], embedding.cols, out);
      },
      single.begin());
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(single.config.layers); ++i) {
    const LayerWeights layer(single.checkpoint, single.tensors, i, single.machine.pool);
    for (const Site& site : layer.drawing().sites) {
      single.walk.pack(site, layer);
      for (std::size_t window = 0; window < single.walk.windows(); ++window) {
        single.walk.inputs(site, layer, window);
        single.walk.leave(site, layer, window);
      }
    }
  }
  for (std::size_t window = 0; window < all.walk.windows(); ++window)
    EXPECT_EQ(all.outputs(window), single.outputs(window));
}

TEST(LayerWalk, TakesCodesInPlaceOfMatrices) {
  WalkedModel model("tiny_tied", 16, WalkArithmetic::int8);
  const Matrix embedding = model.matrix("embedding");
  const LayerWeights layer(model.checkpoint, model.tensors, 0, model.machine.pool);
  const FormatPtr format = find_format("int8:g128");
  const auto walk_step = [&](bool as_codes) {
    model.walk.embed(
        [&](std::string_view, std::int32_t id, float* out) {
          std::copy_n(&embedding.values[static_cast<std::size_t>(id) * embedding.cols], embedding.cols, out);
        },
        model.begin());
    for (const std::string& part : layer.drawing().find_site("mlp_in")->parts) {
      const Matrix& weights = layer.at(part);
      QuantizedTensor codes(format, weights.rows, weights.cols);
      for (std::size_t row = 0; row < weights.rows; ++row)
        format->encode_row(std::span(weights.values).subspan(row * weights.cols, weights.cols), {}, nullptr, row, {},
                           codes.row(row));
      if (as_codes)
        model.walk.pack(part, codes.view());
      else
        model.walk.pack(part, weights);
    }
    const auto x = model.walk.inputs(*layer.drawing().find_site("mlp_out"), layer, 0);
    return std::vector<float>(x.begin(), x.end());
  };
  EXPECT_EQ(walk_step(true), walk_step(false));
}

TEST(WalkArithmetic, IsExactForSmallModelsUnlessToldOtherwise) {
  ModelConfig config = read_model_config(SourceModel::open(data_directory() / "tiny_tied"));
  EXPECT_EQ(resolve_walk_arithmetic(WalkArithmetic::automatic, draw_network(config)), WalkArithmetic::f32);
  EXPECT_EQ(resolve_walk_arithmetic(WalkArithmetic::int8, draw_network(config)), WalkArithmetic::int8);
  config.layers = 16, config.hidden = 2048, config.intermediate = 8192, config.heads = 32, config.kv_heads = 8,
  config.head_dim = 64;
  EXPECT_EQ(resolve_walk_arithmetic(WalkArithmetic::automatic, draw_network(config)), WalkArithmetic::int8);
  EXPECT_EQ(resolve_walk_arithmetic(WalkArithmetic::f32, draw_network(config)), WalkArithmetic::f32);
  for (const char* const name : {"auto", "f32", "int8"})
    EXPECT_EQ(walk_arithmetic_name(parse_walk_arithmetic(name)), name);
  EXPECT_THROW(parse_walk_arithmetic("f64"), Error);
}

INSTANTIATE_TEST_SUITE_P(Models, Walk, testing::ValuesIn(tiny_models()), [](const auto& p) { return p.param; });

TEST(CollectStatistics, IsIndifferentToThreadsAndSeesEverySite) {
  const SourceModel checkpoint = SourceModel::open(data_directory() / "tiny_tied");
  const CalibrationTokens tokens = tokens_of(ReferenceLogits::read("tiny_tied"), 16);
  Machine one(chosen_isa(), 1), three(chosen_isa(), 3);
  const CollectOptions options{.kernels = exact_options().kernels, .second_moments = true};
  const Statistics a = collect_statistics(checkpoint, tokens, options, one),
                   b = collect_statistics(checkpoint, tokens, options, three);
  ASSERT_EQ(a.sites.size(), checkpoint.config().layers * 4 + 1);
  for (std::size_t i = 0; i < a.sites.size(); ++i) {
    EXPECT_EQ(a.sites[i].second_moment, b.sites[i].second_moment) << a.sites[i].name();
    EXPECT_EQ(a.sites[i].count, tokens.ids.size());
  }
  EXPECT_NE(a.find({.site = std::string(kHeadSite)}), nullptr);
  EXPECT_NE(a.find({0, "mlp_out"}), nullptr);
  EXPECT_EQ(a.find({99, "mlp_out"}), nullptr);
}

}  // namespace
}  // namespace nibble
