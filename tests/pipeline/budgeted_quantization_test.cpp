// SPDX-License-Identifier: Apache-2.0
#include "pipeline/budget/budgeted_quantization.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <map>
#include <set>
#include <vector>

#include "kernels/chosen_isa.h"
#include "nibble/error.h"
#include "pipeline/models.h"
#include "pipeline/quantize/quantize_plan.h"

namespace nibble {
namespace {

TEST(HoldOut, CutsTheEndsOfTextsAtLines) {
  const auto [rest, held] = hold_out({{"a", "one\ntwo\nthree\nfour\n"}, {"b", "no line here"}}, 0.4);
  EXPECT_EQ(rest[0].text, "one\ntwo\n");
  EXPECT_EQ(held[0].text, "three\nfour\n");
  EXPECT_EQ(held[0].name, "a (held out)");
  EXPECT_EQ(rest[1].text + held[1].text, "no line here");
  EXPECT_EQ(rest[1].text.size(), 7u);
}

TEST(HoldOut, DoesNotCutWithinACharacter) {
  const auto [rest, held] = hold_out({{"a", "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4"}}, 0.6);
  EXPECT_EQ(rest[0].text.size() % 2, 0u);
  EXPECT_EQ(rest[0].text.size() + held[0].text.size(), 8u);
}

std::optional<double> next_of(std::vector<JudgedExpectation> tried) { return next_expectation(tried, 0.02); }

TEST(NextExpectation, StopsWhereTheLimitIsMetClosely) {
  EXPECT_FALSE(next_of({{0.02, 0.0195}}));
  EXPECT_FALSE(next_of({{0.02, 0.01}, {0.0204, 0.03}}));  // nothing left between what was met and missed
}

TEST(NextExpectation, CorrectsInProportion) {
  EXPECT_NEAR(*next_of({{0.02, 0.01}}), 0.04, 0.002);  // lost half as much as expected
  EXPECT_NEAR(*next_of({{0.02, 0.04}}), 0.01, 0.001);
  EXPECT_LT(*next_of({{0.02, 0.04}}), 0.01);
  const double between = *next_of({{0.01, 0.01}, {0.04, 0.04}});
  EXPECT_GT(between, 0.015);
  EXPECT_LT(between, 0.02);
}

// Whatever the loss does between what was met and what was missed, rounds close in on the limit.
TEST(NextExpectation, ClosesInOnTheLimitOfAnyGrowingLoss) {
  for (const double power : {0.5, 1.0, 1.7, 2.5})
    for (const double factor : {0.2, 1.0, 4.0}) {
      std::vector<JudgedExpectation> tried;
      double expected = 0.02, met = 0;
      for (; tried.size() < 30;) {
        tried.push_back({expected, factor * std::pow(expected / 0.02, power) * 0.02});
        if (tried.back().measured <= 0.02) met = std::max(met, tried.back().measured);
        const auto next = next_of(tried);
        if (!next) break;
        expected = *next;
      }
      EXPECT_LE(tried.size(), 6u) << power << " " << factor;
      EXPECT_GT(met, 0.9 * 0.02) << power << " " << factor;
    }
}

std::vector<std::string> candidates_of(const SensitivityOptions& options, TensorRole role) {
  ModelTensor tensor;
  tensor.role = role;
  tensor.shape = {128, 64};
  const std::array<const ModelTensor*, 1> tensors = {&tensor};
  std::vector<std::string> names;
  for (const FormatPtr& format : candidate_formats(options, 64, tensors)) names.push_back(format->name());
  return names;
}

TEST(Candidates, AreTrellisesWhereRowsNeedNotBeLookedUp) {
  QuantizeModelOptions options;
  options.container = "nibble";
  const SensitivityOptions found = for_output({}, options);
  EXPECT_EQ(candidates_of(found, TensorRole::linear),
            (std::vector<std::string>{"trellis1:l12", "trellis2:l12", "trellis3:l12", "trellis4:l12", "trellis5:l12",
                                      "trellis6:l12", "int8:row"}));
  EXPECT_EQ(candidates_of(found, TensorRole::embedding),
            (std::vector<std::string>{"e8p2", "int2:g64:half", "int3:g128:signed", "int3:g128:signed+outliers:0.5%",
                                      "int4:g128", "int4:g32", "int5:g64", "int6:g64", "int8:row"}));
  options.method = "blockwise";  // which learns codes that stand for themselves
  EXPECT_EQ(candidates_of(for_output({}, options), TensorRole::linear),
            (std::vector<std::string>{"int2:g64:half", "int3:g128:signed", "int4:g128", "int4:g32", "int5:g64",
                                      "int6:g64", "int8:row"}));
  options = {};
  options.output = "small.gguf";
  EXPECT_EQ(for_output({}, options).formats, SensitivityOptions().formats);
}

TEST(Candidates, AreNotMixedWhereARotationAddsAMatrix) {
  const SourceModel tied = SourceModel::open(NIBBLE_SOURCE_DIR "/tests/data/tiny_qwen3");
  ASSERT_TRUE(tied.config().tied_embedding);
  QuantizeModelOptions options;
  options.container = "nibble";
  options.transform = "hadamard";
  EXPECT_NO_THROW(require_reachable(tied, for_output({}, options), {.bytes = 100'000'000}));
  options.transform = "hadamard:fold";
  try {
    require_reachable(tied, for_output({}, options), {.bytes = 100'000'000});
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::unsupported);
    EXPECT_NE(std::string(error.what()).find("hadamard:fold adds to this model"), std::string::npos) << error.what();
  }
}

TEST(Candidates, AreThoseThatAreNamed) {
  SensitivityOptions named;
  named.named_formats = {"trellis2:l8", "trellis4:l8"};
  const SensitivityOptions found = for_output(named, {});
  EXPECT_EQ(candidates_of(found, TensorRole::linear), named.named_formats);
  ModelTensor tensor;
  tensor.shape = {128, 64};
  EXPECT_FALSE(found.is_plain(tensor));
  tensor.role = TensorRole::embedding;
  EXPECT_TRUE(found.is_plain(tensor));
  QuantizeModelOptions file;
  file.output = "small.gguf";
  try {
    for_output(named, file);
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::invalid_argument);
    EXPECT_STREQ(error.setting(), "candidates");
    EXPECT_EQ(std::string(error.what()).substr(0, 50), "trellis2:l8: a GGUF file cannot hold trellises; wr");
  }
}

// Matrices whose rows a named format does not divide stay as they are, too.
TEST(Candidates, AreNotReplacedWhereRowsDoNotDivide) {
  SensitivityOptions named;
  named.named_formats = {"q4_k"};
  const SensitivityOptions found = for_output(named, {});
  ModelTensor tensor;
  tensor.shape = {128, 576};
  EXPECT_TRUE(found.is_plain(tensor));
  tensor.shape = {576, 1536};
  EXPECT_FALSE(found.is_plain(tensor));
}

class NamedCandidates : public ::testing::Test {
 protected:
  // Formats of all matrices of what is written, and what all tensors take there.
  struct Written {
    BudgetedQuantization made;
    std::map<std::string, std::string> formats;
    std::uint64_t bytes = 0;
  };
  Written quantize(const std::vector<std::string>& named, const Budget& budget, const std::string& output) {
    const SourceModel model = SourceModel::open(model_);
    QuantizeModelOptions options;
    options.output = scratch_ / output;
    std::string lines;
    for (int i = 0; i < 1200; ++i) lines += "Line number " + std::to_string(i * 7919 % 1200) + " of the text.\n";
    options.calibration.texts = {{"lines.txt", lines}};
    BudgetRequest request{.budget = budget};
    request.sensitivity.named_formats = named;
    request.sensitivity.sampling = {.samples = 2, .length = 32};
    request.verify.judge.windows = {.context = 64, .max_windows = 4};
    Written written;
    written.made = quantize_to_budget(model, options, request, machine_, {});
    const SourceModel made = SourceModel::open(options.output);
    for (const StoredTensor& tensor : made.tensors()) {
      const Format& format = *tensor.values.format();
      written.bytes += plane_bytes(format, tensor.values.rows(), tensor.values.cols());
      if (tensor.shape.size() > 1) written.formats[tensor.name] = format.name();
    }
    return written;
  }
  static std::set<std::string> layer_formats(const Written& written) {
    std::set<std::string> formats;
    for (const auto& [name, format] : written.formats)
      if (name.find("layers") != std::string::npos) formats.insert(format);
    return formats;
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
  std::filesystem::path model_ = small_synth(scratch_, machine_.pool, 64);
};

// Whatever the size, nothing but what was named is written, the embedding as it was, and counted so.
TEST_F(NamedCandidates, AreAllThatIsWritten) {
  const std::vector<std::string> named = {"trellis2:l8", "trellis4:l8"};
  const SourceModel model = SourceModel::open(model_);
  for (const double bits : {5.8, 6.5, 7.5, 9.0}) {
    SCOPED_TRACE(bits);
    const Written written =
        quantize(named, {.bits_per_weight = bits}, "at" + std::to_string(static_cast<int>(10 * bits)));
    EXPECT_EQ(written.formats.at("model.embed_tokens.weight"), "bf16");
    for (const std::string& format : layer_formats(written))
      EXPECT_NE(std::ranges::find(named, format), named.end()) << format;
    EXPECT_LE(written.made.rounds.front().bits_per_weight, bits);
    EXPECT_NEAR(static_cast<double>(written.made.rounds.front().tensor_bytes), static_cast<double>(written.bytes),
                0.02 * static_cast<double>(written.bytes));  // norms, which are counted in f32
    for (const MeasuredMix& mix : written.made.mixes)
      EXPECT_TRUE(mix.is_solved || std::ranges::find(named, mix.name) != named.end()) << mix.name;
  }
  EXPECT_EQ(layer_formats(quantize(named, {.bytes = 200'000}, "sized")), (std::set<std::string>{"trellis4:l8"}));
}

// Where a file holds candidates for embeddings as well, rivals have them there.
TEST_F(NamedCandidates, OfTheDirectoryAreNeverBlocks) {
  const Written written = quantize({}, {.bits_per_weight = 6.6}, "ints");
  for (const auto& [name, format] : written.formats)
    EXPECT_TRUE(format.starts_with("int") || format.starts_with("trellis")) << name << ": " << format;
  for (const MeasuredMix& mix : written.made.mixes)
    EXPECT_TRUE(mix.is_solved || mix.name.starts_with("int") || mix.name.starts_with("trellis")) << mix.name;
}

TEST_F(NamedCandidates, AreRefusedWhereNothingCanHaveThem) {
  EXPECT_EQ(error_of([&] { quantize({"q2_k"}, {.bits_per_weight = 9}, "none.gguf"); }),
            "no matrix of this model can have any of q2_k: their rows' lengths, or the container, do not allow it");
}

}  // namespace
}  // namespace nibble
