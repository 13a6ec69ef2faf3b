// SPDX-License-Identifier: Apache-2.0
//
// Methods that learn layer by layer, in whole models: dense ones, such with experts and such that recur; runs that were
// interrupted; what is refused.
#include <gtest/gtest.h>

#include <algorithm>

#include "calibrate/layer_weights.h"
#include "kernels/chosen_isa.h"
#include "pipeline/models.h"
#include "pipeline/quantize/layer_learner.h"
#include "pipeline/quantize/recipe_json.h"

namespace nibble {
namespace {

std::string some_text() {
  Random random(1);
  static constexpr std::string_view kWords[] = {"river", "the", "under", "a", "lantern", "moved", "slowly", "bright"};
  std::string text;
  for (int i = 0; i < 1500; ++i) text += std::string(kWords[random.below(std::size(kWords))]) + (i % 11 ? " " : ".\n");
  return text;
}

class Learning : public testing::Test {
 protected:
  SynthShape shape(const std::string& architecture) {
    SynthShape shape = small_shape(architecture, 2, 64);
    if (architecture == "qwen3moe" || architecture == "gptoss") {
      shape.num_experts = 4;
      shape.experts_used = 2;
      shape.expert_intermediate = 64;
    }
    return shape;
  }
  void make(const std::string& architecture) {
    for (const char* const before : {"small", "model"}) std::filesystem::remove_all(scratch_ / before);
    model_ = spread_synth(shape(architecture), scratch_, machine_.pool);
  }

  QuantizeModelOptions options(const std::string& format, const std::string& method, const std::string& output) const {
    QuantizeModelOptions result;
    choose_format(result, format);
    result.method = method;
    result.output = scratch_ / output;
    result.calibration.texts = {{"text", some_text()}};
    result.calibration.sampling = {.samples = 16, .length = 32};
    result.learning.steps = 10;
    result.learning.batch = 4;
    return result;
  }
  QuantizeSummary quantize(const QuantizeModelOptions& request, std::size_t threads = 2) {
    std::filesystem::remove_all(request.output);
    Machine machine(chosen_isa(), threads);
    return quantize_model(SourceModel::open(model_), request, machine, {});
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
  std::filesystem::path model_;
};

TEST_F(Learning, LosesLessInNearlyEveryFamilyAndInNoneMore) {
  std::size_t num_better = 0;
  for (const char* const architecture : {"llama", "qwen3moe", "gptoss", "qwen35", "gemma4"}) {
    SCOPED_TRACE(architecture);
    make(architecture);
    for (const char* const method : {"signround", "blockwise"}) {
      QuantizeModelOptions request = options("int3:g32", method, "out");
      request.round = "nearest";
      const QuantizeSummary summary = quantize(request);
      ASSERT_EQ(summary.learnt.size(), 2U) << method;
      for (const LearntLayer& layer : summary.learnt) {
        EXPECT_LE(layer.after, layer.before) << method << ", " << layer.layer;
        EXPECT_GT(layer.before, 0) << method;
      }
      num_better += summary.learnt.back().after < summary.learnt.back().before ? 1 : 0;
    }
  }
  EXPECT_GE(num_better, 7U);  // of 10: few steps of few tokens
}

TEST_F(Learning, GivesTheSameBytesForAnyNumberOfThreadsAndOnADisk) {
  make("qwen3moe");
  const std::pair<const char*, const char*> cases[] = {
      {"signround", "plain"}, {"blockwise", "plain"}, {"blockwise", "kl"}};
  std::string before;
  for (const auto& [method, hessian] : cases) {
    QuantizeModelOptions request = options("q4_0", method, "one.gguf");
    request.calibration.hessian = parse_hessian(hessian);
    quantize(request, 1);
    const std::string one = read_text(request.output);
    request.output = scratch_ / "three.gguf";
    request.calibration.spill_directory = scratch_.path();
    quantize(request, 3);
    EXPECT_TRUE(one == read_text(request.output)) << method << ' ' << hessian;
    EXPECT_FALSE(one == before) << method << ' ' << hessian;
    before = one;
    EXPECT_FALSE(one == [&] {
      QuantizeModelOptions plain = options("q4_0", "gptq", "plain.gguf");
      plain.learning = {};
      quantize(plain);
      return read_text(plain.output);
    }()) << method;
  }
}

TEST_F(Learning, GoesOnWhereItWasStoppedAndEndsWithTheSameBytes) {
  make("llama");
  const std::pair<const char*, const char*> cases[] = {{"signround", "plain"}, {"blockwise", "kl"}};
  for (const auto& [method, hessian] : cases) {
    QuantizeModelOptions whole = options("q4_0", method, "whole.gguf");
    whole.calibration.hessian = parse_hessian(hessian);
    QuantizeModelOptions request = whole;
    request.output = scratch_ / "stopped.gguf";
    std::filesystem::remove(request.output);
    const QuantizeSummary expected = quantize(whole);
    const SourceModel source = SourceModel::open(model_);
    // Within the first layer, within the second, and behind it.
    std::uint64_t last = 0;
    for (const double share : {0.2, 0.7, 1.0}) {
      const auto stop = [&](const Progress& p) {
        if (p.stage == "quantize") {
          EXPECT_LE(p.done, p.total);
          last = p.done;
        }
        return p.stage != "quantize" || static_cast<double>(p.done) < share * static_cast<double>(p.total);
      };
      const std::string message = error_of([&] { quantize_model(source, request, machine_, stop); });
      EXPECT_NE(message.find("the same command goes on where it stopped"), std::string::npos) << message;
      EXPECT_FALSE(std::filesystem::exists(request.output));
    }
    // What is told of a layer is lost: it learns anew, by the same moments.
    std::vector<std::filesystem::path> told;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(scratch_.path()))
      if (entry.path().filename().string().find("layer-1-learnt") != std::string::npos) told.push_back(entry.path());
    ASSERT_EQ(told.size(), 1U);
    std::filesystem::remove(told.front());
    Machine three(chosen_isa(), 3);
    std::uint64_t total = 0;
    const QuantizeSummary resumed = quantize_model(source, request, three, [&](const Progress& p) {
      if (p.stage == "quantize") last = p.done, total = p.total;
      return true;
    });
    EXPECT_EQ(last, total);
    EXPECT_TRUE(read_text(request.output) == read_text(whole.output));
    ASSERT_EQ(resumed.learnt.size(), expected.learnt.size());
    for (std::size_t i = 0; i < resumed.learnt.size(); ++i) {
      EXPECT_EQ(resumed.learnt[i].kept_step, expected.learnt[i].kept_step);
      EXPECT_FLOAT_EQ(static_cast<float>(resumed.learnt[i].after), static_cast<float>(expected.learnt[i].after));
    }
    QuantizeModelOptions other = request;
    other.learning.rate = 0.25;
    quantize(other);
    EXPECT_FALSE(read_text(other.output) == read_text(whole.output));
  }
}

TEST_F(Learning, LeavesAloneWhatIsNotQuantizedAndBeginsWhereItIsTold) {
  make("llama");
  QuantizeModelOptions request = options("int4:g32", "signround", "some");
  request.exclude = {"*down*"};
  request.round = "nearest";
  request.transform = "awq";
  EXPECT_EQ(quantize(request).learnt.size(), 2U);
  request.include = {"*.1.*"};
  EXPECT_EQ(quantize(request).learnt.size(), 1U);
}

// GGUF files have the columns of some matrices of layers that recur in another order.
TEST_F(Learning, OneMatrixThatCannotLearnKeepsWhatItBeganWith) {
  make("qwen35");
  QuantizeModelOptions request = options("q4_0", "blockwise", "hybrid.gguf");
  request.calibration.sampling.samples = 64;
  request.learning.steps = 60;
  const QuantizeSummary summary = quantize(request);
  ASSERT_EQ(summary.unlearnt.size(), 1U);
  EXPECT_EQ(summary.unlearnt.front(),
            "blk.0.ssm_out.weight: a matrix whose columns the output has in another order than the network reads them");
  EXPECT_TRUE(std::ranges::any_of(summary.notes, [](const std::string& note) {
    return note.find("keep") != std::string::npos && note.find("blk.0.ssm_out.weight") != std::string::npos;
  }));
  EXPECT_EQ(summary.learnt.size(), SourceModel::open(model_).config().layers);
  for (const LearntLayer& layer : summary.learnt) EXPECT_LE(layer.after, layer.before) << layer.layer;

  QuantizeModelOptions plain = options("q4_0", "gptq", "plain.gguf");
  plain.calibration.sampling.samples = 64;
  plain.learning = {};
  quantize(plain);
  ASSERT_NE(summary.learnt.front().kept_step, 0U);
  const SourceModel learnt = SourceModel::open(request.output), began = SourceModel::open(plain.output);
  const auto values = [&](const SourceModel& model, std::string_view name) {
    const auto tensors = model.tensors();
    return decode_matrix(*std::ranges::find(tensors, name, &StoredTensor::name), machine_.pool).values;
  };
  EXPECT_EQ(values(learnt, "blk.0.ssm_out.weight"), values(began, "blk.0.ssm_out.weight"));
  EXPECT_NE(values(learnt, "blk.0.ffn_down.weight"), values(began, "blk.0.ffn_down.weight"));
}

TEST_F(Learning, LayersLearnByOneMethod) {
  make("llama");
  QuantizeModelOptions request = options("int4:g32", "signround", "x");
  request.recipe = recipe_from_json(
      R"({"rules": [{"tensors": "*.1.*down*", "format": "int4:g32", "method": "blockwise"},
                    {"tensors": "*", "format": "int4:g32"}]})",
      "mixed.json");
  const std::string mixed = error_of([&] { quantize(request); });
  EXPECT_NE(mixed.find("by signround"), std::string::npos) << mixed;
  EXPECT_NE(mixed.find("down_proj.weight' by blockwise, but the matrices of a layer learn together"), std::string::npos)
      << mixed;
  request.recipe.rules.front().method = "gptq";
  EXPECT_EQ(quantize(request).learnt.size(), 2U);
}

TEST_F(Learning, RefusesWhatMemoryDoesNotHold) {
  make("llama");
  const SourceModel source = SourceModel::open(model_);
  QuantizeModelOptions request = options("int4:g32", "signround", "x");
  request.learning.batch = 8;
  const QuantizePlan plan = plan_quantization(source, request);
  const LearningText text{.tokens = 16 * 32, .length = 32};
  std::uint64_t beside = 0;
  const auto fits = [&](std::uint64_t available) {
    try {
      require_learning_memory(plan, request, text, beside, available);
      return true;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::resource);
      EXPECT_STREQ(error.setting(), "batch");
      EXPECT_NE(std::string(error.what()).find("give smaller batches, or keep hidden states on a disk: "),
                std::string::npos)
          << error.what();
      return false;
    }
  };
  std::uint64_t least = 0;
  for (std::uint64_t bit = std::uint64_t{1} << 32; bit != 0; bit /= 2)
    if (!fits(least + bit)) least += bit;
  // A layer three times in f32, and the text three times.
  const std::uint64_t layer = 4 * 64 * 64 + 3 * 64 * source.config().intermediate, hidden = 3 * text.tokens * 64 * 4;
  EXPECT_GT(least, 3 * layer * 4 + hidden);
  EXPECT_LT(least, std::uint64_t{64} << 20);
  EXPECT_FALSE(fits(least));
  EXPECT_TRUE(fits(least + 1));
  beside = 1000;  // what kl moments keep meanwhile
  EXPECT_FALSE(fits(least + 1000));
  EXPECT_TRUE(fits(least + 1001));
  beside = 0;
  request.learning.batch = 4;
  EXPECT_TRUE(fits(least)) << "smaller batches take less";
  request.learning.batch = 8;
  request.calibration.spill_directory = scratch_.path();
  EXPECT_TRUE(fits(least + 1 - hidden)) << "hidden states are on a disk";
  EXPECT_FALSE(fits(least - hidden));
}

TEST_F(Learning, BudgetsAreRefusedBeforeTheyAreMeasured) {
  const QuantizeModelOptions request = options("q4_k", "signround", "x");
  const std::vector<std::string> none = {"iq2_xs", "iq3_xxs"}, one = {"iq2_xs", "q4_k"};
  EXPECT_EQ(error_of([&] {
              require_learnable(none, request);
            }).find("rounding is not learned in iq2_xs, its codes stand for several weights at once; take the method"),
            0U);
  EXPECT_EQ(error_of([&] { require_learnable(one, request); }), "no error");
  EXPECT_EQ(error_of([&] { require_learnable(none, options("q4_k", "gptq", "x")); }), "no error");
}

TEST_F(Learning, SaysWhatItNeeds) {
  make("llama");
  const auto message = [&](const QuantizeModelOptions& request) { return error_of([&] { quantize(request); }); };
  QuantizeModelOptions request = options("int4:g32:s6", "signround", "x");
  EXPECT_NE(message(request).find("rounding is not learned in int4:g32:s6, its scales are counted in others; take the "
                                  "method gptq or descent"),
            std::string::npos)
      << message(request);
  request = options("int4:g32", "blockwise", "x");
  const Statistics statistics;
  request.calibration.statistics = &statistics;
  request.calibration.texts.clear();
  EXPECT_NE(message(request).find("statistics do not tell what a layer gives"), std::string::npos) << message(request);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "x"));
  request.calibration.statistics = nullptr;
  EXPECT_EQ(message(request), "this method learns from what the model's layers make of a text; give it one");
  request = options("int4:g32", "blockwise", "x");
  request.calibration.sampling.samples = 1;
  EXPECT_NE(message(request).find("this is a single window; give more text"), std::string::npos) << message(request);
  std::string note;
  request = options("int4:g32", "blockwise", "x");
  request.learning.batch = 4096;  // more than there are
  request.note = [&](const std::string& text) { note = text; };
  quantize(request);
  EXPECT_NE(note.find("a batch of 16 windows of 32 tokens"), std::string::npos) << note;
}

}  // namespace
}  // namespace nibble
