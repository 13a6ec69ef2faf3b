// SPDX-License-Identifier: Apache-2.0
//
// Moments that weigh tokens by what the loss asks of them: sums with these weights, for all rows or for groups of them,
// in every method that reads moments.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "calibrate/layer_walk.h"
#include "kernels/chosen_isa.h"
#include "pipeline/models.h"
#include "pipeline/quantize/hessian.h"
#include "pipeline/quantize/hessian_memory.h"
#include "pipeline/quantize/loss_weights.h"
#include "pipeline/quantize/planned_parts.h"
#include "pipeline/quantize/quantize_plan.h"
#include "pipeline/quantize/site_view.h"
#include "train/token_weights.h"

namespace nibble {
namespace {

std::string some_text() {
  std::string text;
  for (int i = 0; i < 200; ++i) text += "Sentence " + std::to_string(i * i * 7) + " of the text. ";
  return text;
}

class Guided : public testing::Test {
 protected:
  QuantizeModelOptions options(const std::string& format, const std::string& method, const std::string& hessian) {
    QuantizeModelOptions options;
    choose_format(options, format);
    options.method = method;
    options.calibration.texts = {{"text", some_text()}};
    options.calibration.sampling = {.samples = 8, .length = 32};
    options.calibration.hessian = parse_hessian(hessian);
    return options;
  }
  std::string bytes_of(const std::string& format, const std::string& method, const std::string& hessian,
                       Machine& machine) {
    QuantizeModelOptions asked = options(format, method, hessian);
    asked.output = scratch_ / ("q" + std::to_string(++count_) + ".gguf");
    quantize_model(source_, asked, machine, {});
    return read_text(asked.output);
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
  SourceModel source_ = SourceModel::open(small_synth(scratch_, machine_.pool));
  int count_ = 0;
};

TEST_F(Guided, SpellingsAreReadBack) {
  for (const char* const name : {"plain", "guided", "guided:4", "kl"})
    EXPECT_EQ(hessian_name(parse_hessian(name)), name);
  EXPECT_EQ(parse_hessian("guided:1"), parse_hessian("guided"));
  for (const char* const name : {"", "guided:", "guided:0", "guided:65", "guided:4x", "kl:2", "fisher"})
    EXPECT_NE(error_of([&] { parse_hessian(name); }).find("plain, guided"), std::string::npos) << name;
}

// What moments are, beside sums made here.
TEST_F(Guided, MomentsAreSumsWithTheSharesOfTokens) {
  const QuantizeModelOptions asked = options("q4_0", "gptq", "guided");
  const QuantizePlan plan = plan_quantization(source_, asked);
  const PlannedParts parts(plan, asked);
  const Network& network = parts.tensors().network();
  const CalibrationTokens tokens =
      choose_windows(asked.calibration.texts, source_.tokenizer(), asked.calibration.sampling, 128);
  const LayerWeights begin(source_, parts.tensors(), Network::kBegin, machine_.pool),
      layer(source_, parts.tensors(), 0, machine_.pool);
  const Site& site = layer.drawing().sites.front();
  std::vector<LayerWalk> walks;
  walks.reserve(2);
  for (int i = 0; i < 2; ++i)
    walks.emplace_back(network, tokens, WalkOptions{}, machine_).embed(stored_rows(source_), begin);
  const auto share_at = [](std::size_t group, std::size_t window, std::size_t t) {
    return static_cast<float>(1 + group) * static_cast<float>((window * 5 + t * 3) % 7) / 3;
  };
  std::vector<float> room(tokens.length);
  std::vector<TokenShares> shares;
  for (std::size_t group = 0; group < 2; ++group)
    shares.emplace_back([&, group](std::size_t window) {
      for (std::size_t t = 0; t < room.size(); ++t) room[t] = share_at(group, window, t);
      return std::span<const float>(room);
    });
  const std::vector<SiteView> views =
      views_of_text(site, 0, {}, parts, {layer, layer}, walks[0], &walks[1], tokens.windows(), shares, machine_);
  ASSERT_EQ(views.size(), 2u);
  const std::size_t n = site.width;
  for (std::size_t group = 0; group < 2; ++group) {
    std::vector<double> moment(n * n);
    for (std::size_t window = 0; window < walks[0].windows(); ++window) {
      const std::span<const float> x = walks[0].inputs(site, layer, window);
      for (std::size_t t = 0; t < tokens.length; ++t)
        for (std::size_t i = 0; i < n; ++i)
          for (std::size_t j = 0; j < n; ++j)
            moment[i * n + j] += static_cast<double>(share_at(group, window, t)) * static_cast<double>(x[t * n + i]) *
                                 static_cast<double>(x[t * n + j]);
    }
    const double count = static_cast<double>(tokens.ids.size());
    double largest = 0;
    for (const double value : moment) largest = std::max(largest, std::fabs(value) / count);
    const SiteStatistics& seen = *views[group].own;
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(seen.mean_square[i], moment[i * n + i] / count, 1e-5 * largest);
      for (std::size_t j = 0; j < n; ++j) {
        ASSERT_NEAR(seen.second_moment[i * n + j], moment[i * n + j] / count, 1e-5 * largest) << i << ", " << j;
        ASSERT_NEAR(views[group].cross[i * n + j], moment[i * n + j] / count, 1e-5 * largest) << i << ", " << j;
      }
    }
  }
}

TEST_F(Guided, EveryMethodThatReadsMomentsTakesThem) {
  Machine one(chosen_isa(), 1);
  for (const char* const method : {"gptq", "descent", "imatrix"}) {
    const std::string plain = bytes_of("q4_0", method, "plain", machine_);
    for (const char* const hessian : {"guided", "guided:4", "kl"}) {
      const std::string guided = bytes_of("q4_0", method, hessian, machine_);
      EXPECT_FALSE(guided == plain) << method << ", " << hessian;
      EXPECT_TRUE(guided == bytes_of("q4_0", method, hessian, one)) << method << ", " << hessian;
      EXPECT_NE(guided.find("\"hessian\":\"" + std::string(hessian) + "\""), std::string::npos) << hessian;
    }
  }
}

// Tokens that are sent to an expert weigh alike; the layer's other Linears have weights of their own.
TEST_F(Guided, ExpertsTakeTheirInputsAsTheyAre) {
  ScratchDirectory scratch;
  Machine one(chosen_isa(), 1);
  SynthShape shape = small_shape("qwen3moe", 2, 64);
  shape.num_experts = 4;
  shape.experts_used = 2;
  const SourceModel source = SourceModel::open(spread_synth(shape, scratch, machine_.pool));
  const auto made = [&](const std::string& hessian, Machine& machine) {
    QuantizeModelOptions asked = options("q4_0", "gptq", hessian);
    asked.output = scratch / "q.gguf";
    quantize_model(source, asked, machine, {});
    return read_text(asked.output);
  };
  const std::vector<CalibrationText> texts = {{"text", some_text()}};
  const CalibrationTokens tokens = choose_windows(texts, source.tokenizer(), {.samples = 8, .length = 32}, 128);
  for (const std::size_t groups : {1u, 3u}) {
    const TokenWeights weights = find_token_weights(source, tokens, {.groups = groups}, machine_);
    std::size_t known = 0;
    for (const Site& site : source.parts().network().layer(0).sites)
      for (const std::string& part : site.parts) {
        const bool is_known = !weights.of(0, groups == 1 ? site.name : part, 0).empty();
        EXPECT_EQ(is_known, site.experts == 0 && part != "router") << part;
        known += is_known ? 1 : 0;
      }
    EXPECT_GE(known, 4u);
  }
  const std::string plain = made("plain", machine_);
  for (const char* const hessian : {"guided", "guided:3", "kl"}) {
    const std::string guided = made(hessian, machine_);
    EXPECT_FALSE(guided == plain) << hessian;
    EXPECT_TRUE(guided == made(hessian, one)) << hessian;
  }
}

TEST_F(Guided, TooLittleTextIsTold) {
  QuantizeModelOptions asked = options("q4_0", "gptq", "kl");
  asked.output = scratch_ / "told.gguf";
  std::vector<std::string> notes;
  asked.note = [&](const std::string& note) { notes.push_back(note); };
  const QuantizeSummary summary = quantize_model(source_, asked, machine_, {});
  const std::string expected =
      "kl moments of 8 windows of 32 tokens: a few tokens decide in them, and of so little text plain ones may lose "
      "less; take 2048 windows";
  EXPECT_EQ(std::ranges::count(notes, "note: " + expected), 1);
  EXPECT_EQ(std::ranges::count(summary.warnings, expected), 1);
  CalibrationTokens enough;
  enough.length = 512;
  enough.ids.resize(std::size_t{1} << 16);
  EXPECT_EQ(loss_weight_warning(parse_hessian("guided"), enough), "");
  enough.ids.resize(512);
  EXPECT_EQ(loss_weight_warning(parse_hessian("plain"), enough), "");
  EXPECT_NE(loss_weight_warning(parse_hessian("guided"), enough).find("take 128 windows"), std::string::npos);
}

// Before any gradient: how much, and which moments there would be room for.
TEST_F(Guided, MemoryThatDoesNotSufficeIsSaid) {
  const std::vector<CalibrationText> texts = {{"text", some_text()}};
  const CalibrationTokens tokens = choose_windows(texts, source_.tokenizer(), {.samples = 8, .length = 32}, 128);
  const HessianText text{source_, tokens};
  EXPECT_EQ(hessian_bytes(parse_hessian("plain"), text, machine_), 0u);
  const std::uint64_t one = hessian_bytes(parse_hessian("guided"), text, machine_),
                      many = hessian_bytes(parse_hessian("guided:64"), text, machine_);
  // 64 groups of the widest site, 512: a total and a shard's sums, the same of targets, two for what rounds by them.
  EXPECT_GT(many, 64u * 6 * 512 * 512 * sizeof(float));
  EXPECT_LT(one, many / 4);
  // One more where inputs are rotated.
  HessianText rotated{source_, tokens};
  rotated.rotates = true;
  EXPECT_EQ(hessian_bytes(parse_hessian("guided:64"), rotated, machine_), many + 64u * 512 * 512 * sizeof(float));
  const auto refusal = [&](const char* hessian, std::uint64_t available) {
    return error_of([&] { require_hessian_memory(parse_hessian(hessian), text, available, machine_); });
  };
  EXPECT_EQ(refusal("guided:64", many), "no error");
  EXPECT_NE(refusal("guided:64", many / 2 - 1).find("guided:16 ones would fit"), std::string::npos)
      << refusal("guided:64", many / 2 - 1);
  EXPECT_NE(refusal("guided:64", one).find("guided ones would fit"), std::string::npos) << refusal("guided:64", one);
  EXPECT_NE(refusal("guided", one - 1).find("plain ones would fit"), std::string::npos);
  const std::uint64_t outputs = hessian_bytes(parse_hessian("kl"), text, machine_);
  EXPECT_GT(outputs, 2u * 512 * 512 * sizeof(float));
  EXPECT_EQ(refusal("kl", outputs), "no error");
  EXPECT_NE(refusal("kl", outputs - 1).find(" ones would fit"), std::string::npos);
}

// Of a file that has heads in another order the same, in that order.
TEST_F(Guided, OutputsAreWeighedInTheOrderThatIsAskedFor) {
  const SourceModel model = SourceModel::open(NIBBLE_SOURCE_DIR "/tests/data/tale-4M");
  QuantizeModelOptions copied;
  choose_format(copied, "f32");
  copied.output = scratch_ / "copy.gguf";
  quantize_model(model, copied, machine_, {});
  const SourceModel file = SourceModel::open(copied.output);
  const std::vector<CalibrationText> texts = {{"text", some_text()}};
  const CalibrationTokens tokens = choose_windows(texts, model.tokenizer(), {.samples = 8, .length = 32}, 128);
  const auto found = [&](const SourceModel& source, const std::vector<std::uint32_t>& order) {
    LossWeights weights(source, tokens, {.hessian = parse_hessian("kl")}, machine_);
    weights.prepare(0, true);
    EXPECT_TRUE(weights.is_by_part());
    EXPECT_EQ(weights.shares_of(source.parts().network().layer(0).sites.front(), 0, "q").size(), 1u);
    EXPECT_TRUE(weights.outputs_of(0, "nothing", {}).empty());
    return weights.outputs_of(0, "q", order);
  };
  const auto order = model.parts().part("q", 0)->rows_from(Spelling::huggingface, Spelling::gguf);
  ASSERT_FALSE(order.empty());
  const std::vector<float> here = found(model, {}), moved = found(model, order), there = found(file, {});
  ASSERT_EQ(moved.size(), there.size());
  const auto distance = [&](const std::vector<float>& a) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i] - there[i]), 2);
    return std::sqrt(sum);
  };
  // A few of the drawn tokens are others where sums run in another order.
  EXPECT_LT(distance(moved), 0.1 * distance(here));
}

TEST_F(Guided, StatisticsDoNotTellGradients) {
  QuantizeModelOptions asked = options("q4_0", "gptq", "guided");
  const Statistics statistics;
  asked.calibration.statistics = &statistics;
  asked.output = scratch_ / "x.gguf";
  EXPECT_NE(error_of([&] { quantize_model(source_, asked, machine_, {}); }).find("guided moments are those of a text"),
            std::string::npos);
}

}  // namespace
}  // namespace nibble
