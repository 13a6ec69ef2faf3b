// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <set>
#include <sstream>

#include "base/random.h"
#include "engine/decoder.h"
#include "kernels/chosen_isa.h"
#include "pipeline/models.h"
#include "pipeline/quantize/calibrate_model.h"

namespace nibble {
namespace {

// Text of a few dozen words in a fixed disorder.
std::string some_text(std::uint64_t seed) {
  static constexpr std::string_view kWords[] = {"river",  "the",    "under", "a",  "lantern", "moved",
                                                "slowly", "bright", "and",   "of", "stone",   "nine"};
  Random random(seed);
  std::string text;
  for (int i = 0; i < 1500; ++i)
    text += std::string(kWords[random.below(std::size(kWords))]) + (i % 11 == 10 ? ".\n" : " ");
  return text;
}

std::string bytes_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

class CalibratedQuantize : public testing::Test {
 protected:
  explicit CalibratedQuantize(std::uint64_t hidden = 256) : model_(small_synth(scratch_, machine_.pool, hidden)) {}
  QuantizeModelOptions options(const std::string& format, const std::string& method, const std::string& output) const {
    QuantizeModelOptions result;
    result.recipe = find_recipe(format);
    result.method = method;
    result.output = scratch_ / output;
    if (method != "rtn") result.calibration.texts = {{"text", some_text(1)}};
    result.calibration.sampling = {.samples = 16, .length = 64, .seed = 0};
    return result;
  }
  void quantize(const QuantizeModelOptions& request, std::size_t threads) {
    Machine machine(chosen_isa(), threads);
    quantize_model(SourceModel::open(model_), request, machine, {});
  }
  std::vector<float> logits(const std::filesystem::path& path) {
    DecoderOptions decoder_options{.kernels = {.activations = ActivationMode::f32}, .kv = KvType::f32, .progress = {}};
    const SourceModel checkpoint = SourceModel::open(path);
    const Tokenizer tokenizer = Tokenizer::from_checkpoint(checkpoint);
    Decoder decoder(checkpoint, decoder_options, machine_);
    KvCache cache = decoder.new_cache(100);
    std::vector<std::int32_t> ids = tokenizer.encode(some_text(2));
    ids.resize(100);
    std::vector<float> result(100 * decoder.config().vocab_size);
    decoder.forward(cache, ids, LogitsFor::all, result);
    return result;
  }
  // Of the logits, relative to the original's.
  double distance(const std::filesystem::path& path) {
    const std::vector<float> a = logits(model_), b = logits(path);
    double difference = 0, norm = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
      difference += (double(a[i]) - b[i]) * (double(a[i]) - b[i]);
      norm += double(a[i]) * a[i];
    }
    return std::sqrt(difference / norm);
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
  std::filesystem::path model_;
};

// Where only the bytes matter.
class CalibratedQuantizeNarrow : public CalibratedQuantize {
 protected:
  CalibratedQuantizeNarrow() : CalibratedQuantize(128) {}
};

TEST_F(CalibratedQuantize, FeedbackRoundingKeepsMoreOfTheModelThanRounding) {
  for (const char* format : {"q3_k", "int3:g64"}) {
    const std::string ending = std::string(format) == "q3_k" ? ".gguf" : "";
    quantize(options(format, "rtn", "rtn" + ending), 2);
    const double rtn = distance(scratch_ / ("rtn" + ending));
    for (const char* method : {"gptq", "descent"}) {
      if (method == std::string_view("descent") && ending.empty()) continue;  // it takes by far the longest
      quantize(options(format, method, method + ending), 2);
      EXPECT_LT(distance(scratch_ / (method + ending)), 0.8 * rtn) << format << " " << method;
    }
  }
}

TEST_F(CalibratedQuantizeNarrow, GivesTheSameBytesForAnyNumberOfThreads) {
  for (const char* method : {"gptq", "awq"}) {
    quantize(options("q4_0", method, "one.gguf"), 1);
    quantize(options("q4_0", method, "three.gguf"), 3);
    EXPECT_EQ(bytes_of(scratch_ / "one.gguf"), bytes_of(scratch_ / "three.gguf")) << method;
  }
}

TEST_F(CalibratedQuantizeNarrow, KeepsHiddenStatesOnDiskWithTheSameBytes) {
  for (const WalkArithmetic walk : {WalkArithmetic::f32, WalkArithmetic::int8}) {
    // Scales are chosen on a walk that is taken back; feedback has the original's text beside the other.
    QuantizeModelOptions request = options("q4_0", "gptq", "memory.gguf");
    request.transform = "smoothquant";
    request.calibration.walk = walk;
    quantize(request, 2);
    request.output = scratch_ / "disk.gguf";
    request.calibration.spill_directory = scratch_.path();
    const auto stop = [](const Progress& p) { return p.stage != "quantize" || p.done < p.total / 2; };
    EXPECT_THROW(quantize_model(SourceModel::open(model_), request, machine_, stop), Error);
    EXPECT_TRUE(std::filesystem::exists(scratch_ / "disk.gguf.work/key"));
    quantize(request, 2);
    EXPECT_EQ(bytes_of(scratch_ / "disk.gguf"), bytes_of(scratch_ / "memory.gguf")) << walk_arithmetic_name(walk);
  }
}

TEST_F(CalibratedQuantize, WalksInEightBitsWithNearlyTheSameResult) {
  quantize(options("int3:g64", "gptq", "exact"), 2);
  quantize(options("int3:g64", "rtn", "rtn"), 2);
  QuantizeModelOptions request = options("int3:g64", "gptq", "rounded");
  request.calibration.walk = WalkArithmetic::int8;
  quantize(request, 2);
  request.output = scratch_ / "one-thread";
  quantize(request, 1);
  EXPECT_EQ(bytes_of(scratch_ / "rounded/model.safetensors"), bytes_of(scratch_ / "one-thread/model.safetensors"));
  EXPECT_NE(bytes_of(scratch_ / "rounded/model.safetensors"), bytes_of(scratch_ / "exact/model.safetensors"));
  // Random weights and few tokens: noise of 8-bit activations, about a hundredth of the outputs, finds its way into the
  // targets.
  EXPECT_LT(distance(scratch_ / "rounded"), 1.3 * distance(scratch_ / "exact"));
  EXPECT_LT(distance(scratch_ / "rounded"), 0.8 * distance(scratch_ / "rtn"));
}

TEST_F(CalibratedQuantize, ScalingTransformsLeaveAlmostNothingBehind) {
  // Eight bits for every row: what remains is their rounding, whatever was folded.
  quantize(options("int8:row", "rtn", "plain"), 2);
  for (const char* method : {"awq", "smoothquant"}) {
    quantize(options("int8:row", method, method), 2);
    EXPECT_LT(distance(scratch_ / method), 3 * distance(scratch_ / "plain")) << method;
  }
}

TEST_F(CalibratedQuantize, StatisticsServeInPlaceOfText) {
  const SourceModel checkpoint = SourceModel::open(model_);
  const std::vector<CalibrationText> texts = {{"text", some_text(1)}};
  CalibrateOptions calibrate;
  calibrate.sampling = {.samples = 16, .length = 64, .seed = 0};
  calibrate.collect.second_moments = true;
  const CalibrationResult result = calibrate_model(checkpoint, texts, calibrate, machine_);
  for (const char* name : {"s.safetensors", "s.gguf", "s.dat"}) {
    save_statistics(result.statistics, checkpoint, scratch_ / name);
    const Statistics statistics = load_statistics(scratch_ / name, checkpoint);
    QuantizeModelOptions request = options("q3_k", "imatrix", "out.gguf");
    request.calibration.texts.clear();
    request.calibration.statistics = &statistics;
    quantize(request, 2);
    EXPECT_LT(distance(scratch_ / "out.gguf"), 0.5) << name;
  }
}

TEST_F(CalibratedQuantizeNarrow, GoesOnWhereItWasStoppedAndEndsWithTheSameBytes) {
  quantize(options("q4_0", "gptq", "whole.gguf"), 2);
  const QuantizeModelOptions request = options("q4_0", "gptq", "stopped.gguf");
  // Stopped behind the first piece, then at the last report, when every piece is there but not the output.
  const SourceModel checkpoint = SourceModel::open(model_);
  for (const bool late : {false, true}) {
    const auto stop = [&](const Progress& p) {
      return p.stage != "quantize" || p.done == 0 || (late && p.done < p.total);
    };
    EXPECT_THROW(quantize_model(checkpoint, request, machine_, stop), Error);
    EXPECT_TRUE(std::filesystem::exists(scratch_ / "stopped.gguf.work/key"));
    EXPECT_FALSE(std::filesystem::exists(scratch_ / "stopped.gguf"));
  }
  quantize(request, 3);
  EXPECT_EQ(bytes_of(scratch_ / "stopped.gguf"), bytes_of(scratch_ / "whole.gguf"));
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "stopped.gguf.work"));
}

TEST_F(CalibratedQuantizeNarrow, ThrowsAwayDamagedAndForeignPieces) {
  quantize(options("q4_0", "gptq", "whole.gguf"), 2);
  const QuantizeModelOptions request = options("q4_0", "gptq", "again.gguf");
  const SourceModel checkpoint = SourceModel::open(model_);
  const auto stop_late = [&](const QuantizeModelOptions& what) {
    EXPECT_THROW(quantize_model(checkpoint, what, machine_,
                                [](const Progress& p) { return p.stage != "quantize" || p.done < p.total / 2; }),
                 Error);
  };
  stop_late(request);
  std::size_t damaged = 0;
  for (const auto& entry : std::filesystem::directory_iterator(scratch_ / "again.gguf.work")) {
    if (entry.path().filename() == "key" || ++damaged % 2 == 0) continue;
    std::fstream file(entry.path(), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(100);
    file.put('!');
  }
  EXPECT_GT(damaged, 1u);
  quantize(request, 2);
  EXPECT_EQ(bytes_of(scratch_ / "again.gguf"), bytes_of(scratch_ / "whole.gguf"));
  QuantizeModelOptions other = request;
  other.calibration.sampling.seed = 5;
  other.calibration.sampling.samples = 8;
  stop_late(other);
  quantize(request, 2);
  EXPECT_EQ(bytes_of(scratch_ / "again.gguf"), bytes_of(scratch_ / "whole.gguf"));
}

TEST_F(CalibratedQuantize, AsksForTextWhereItNeedsSome) {
  QuantizeModelOptions request = options("q4_0", "gptq", "out.gguf");
  request.calibration.texts.clear();
  const std::string message = error_of([&] { quantize(request, 1); });
  EXPECT_NE(message.find("give it text"), std::string::npos) << message;
}

TEST_F(CalibratedQuantize, RefusesLearnedTablesInOtherFormats) {
  const std::string message = error_of([&] { quantize(options("q4_0", "table", "out.gguf"), 1); });
  EXPECT_NE(message.find("choose a table format"), std::string::npos) << message;
}

// Scales that are folded away are kept in f32, whoever chose the method that folds.
TEST_F(CalibratedQuantizeNarrow, NormsThatTakeScalesAreF32) {
  const auto norm_formats = [](const QuantizeSummary& summary) {
    std::set<std::string> formats;
    for (const TensorSummary& tensor : summary.tensors)
      if (tensor.kind.ends_with("_norm")) formats.insert(tensor.format);
    return formats;
  };
  const SourceModel source = SourceModel::open(model_);
  const std::string own = source.tensor("model.norm.weight").values.format()->name();
  ASSERT_NE(own, "f32");
  for (const char* method : {"awq", "smoothquant"}) {
    QuantizeModelOptions by_recipe = options("int4:g32", "rtn", "by_recipe"),
                         by_option = options("int4:g32", method, "by_option");
    by_recipe.calibration = by_option.calibration;
    by_recipe.recipe.rules.insert(by_recipe.recipe.rules.begin(), {"*.attn_q.weight", {}, "int4:g32", method});
    QuantizeModelOptions by_transform = options("int4:g32", "rtn", "by_transform");
    by_transform.calibration = by_option.calibration;
    by_transform.transform = method;
    for (const QuantizeModelOptions& request : {by_recipe, by_option, by_transform}) {
      const QuantizeSummary summary = quantize_model(source, request, machine_, {});
      EXPECT_EQ(norm_formats(summary), std::set<std::string>{"f32"}) << method << ": " << request.output;
    }
  }
  EXPECT_EQ(norm_formats(quantize_model(source, options("int4:g32", "rtn", "plain"), machine_, {})),
            std::set<std::string>{own});
}

}  // namespace
}  // namespace nibble
