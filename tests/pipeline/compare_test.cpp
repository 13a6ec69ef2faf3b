// SPDX-License-Identifier: Apache-2.0
#include "pipeline/judge/compare.h"
#include "kernels/chosen_isa.h"

#include <gtest/gtest.h>

#include "pipeline/judge/size_front.h"
#include "pipeline/models.h"

namespace nibble {
namespace {

std::string long_text() {
  std::string text;
  for (int i = 0; i < 60; ++i) text += "Number " + std::to_string(i * i) + " follows. ";
  return text;
}

CompareOptions quick(std::vector<std::string> formats, const ScratchDirectory& scratch) {
  CompareOptions options;
  options.formats = std::move(formats);
  options.windows = {Protocol::llama_cpp, 64, 2};
  options.speed.prompt_tokens = 8;
  options.speed.generated_tokens = 2;
  options.speed.repetitions = 1;
  options.scratch = scratch.path();
  return options;
}

TEST(Compare, JudgesEveryFormatAgainstTheOriginal) {
  ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  const SourceModel original = SourceModel::open(small_synth(scratch, machine.pool));
  const Comparison comparison =
      compare_formats(original, {{"text", long_text()}}, quick({"bf16", "q8_0", "int2:g32"}, scratch), machine);
  ASSERT_EQ(comparison.formats.size(), 3u);
  ASSERT_EQ(comparison.verdict.candidates.size(), 3u);
  const auto kl = [&](std::size_t i) { return comparison.verdict.candidates[i].overall[Metric::kl_mean].value; };
  EXPECT_EQ(comparison.original_format, "bf16");
  EXPECT_EQ(comparison.formats[0].format, "bf16");
  EXPECT_LT(kl(0), 1e-6);  // the same weights
  EXPECT_GT(kl(2), kl(1));
  EXPECT_LT(comparison.formats[2].summary.linear_bits_per_weight, 3);
  EXPECT_LT(comparison.formats[1].summary.output_bytes, comparison.original_bytes);
  for (const ComparedFormat& format : comparison.formats) {
    EXPECT_GT(format.prefill, 0);
    EXPECT_GT(format.decode, 0);
  }
  EXPECT_EQ(scratch.num_entries(), 1u);  // temporary models are gone
  // A token takes log2 of the perplexity; a byte of what was scored, the second halves of two windows, its share of it.
  const Tokenizer& tokenizer = original.tokenizer();
  const std::vector<std::int32_t> ids = tokenizer.encode(long_text(), {});
  std::size_t scored = 0;
  for (std::size_t w = 0; w < 2; ++w) scored += tokenizer.decode(std::span(ids).subspan(w * 64 + 33, 31)).size();
  EXPECT_EQ(comparison.scored_bytes, scored);
  EXPECT_GT(comparison.read_bytes, comparison.scored_bytes);
  EXPECT_NEAR(bits_per_byte(8, comparison), 3 * 62.0 / static_cast<double>(scored), 1e-12);
}

TEST(Compare, ReadAlikeWhereAboutAsManyBytesWereRead) {
  Comparison a, b;
  a.read_bytes = 1000;
  b.read_bytes = 960;
  EXPECT_TRUE(have_read_alike(a, b));
  b.read_bytes = 940;
  EXPECT_FALSE(have_read_alike(a, b));
  EXPECT_FALSE(have_read_alike(b, a));
}

TEST(SizeFront, HoldsWhatNothingAsSmallBeats) {
  EXPECT_EQ(size_front(std::vector<SizedLoss>{{10, 1}, {20, 0.5}, {20, 0.6}, {15, 1}, {30, 0.5}, {5, 2}}),
            (std::vector<bool>{true, true, false, false, false, true}));
  EXPECT_EQ(size_front(std::vector<SizedLoss>{{10, 1}, {10, 1}}), (std::vector<bool>{true, true}));  // alike
}

// What is not rounded as it is run is not read twice; what is, is held against its weights alone.
TEST(Compare, SplitsTheLoss) {
  ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  const SourceModel original = SourceModel::open(small_synth(scratch, machine.pool));
  CompareOptions options = quick({"f32", "q8_0"}, scratch);
  options.split_windows = 1;
  const Comparison comparison = compare_formats(original, {{"text", long_text()}}, options, machine);
  const LossSplit &raw = comparison.verdict.candidates[0].split.value(),
                  &rounded = comparison.verdict.candidates[1].split.value();
  EXPECT_TRUE(raw.same);
  EXPECT_EQ(raw.windows, 2u);
  EXPECT_FALSE(rounded.same);
  EXPECT_EQ(rounded.windows, 1u);
  EXPECT_LT(rounded.weights[Metric::kl_mean].value, rounded.as_run[Metric::kl_mean].value);

  // The weights alone are what a reading in f32 finds.
  options.kernels.activations = ActivationMode::f32;
  options.kv = KvType::f16;
  const Comparison exact = compare_formats(original, {{"text", long_text()}}, options, machine);
  EXPECT_TRUE(exact.verdict.candidates[1].split->same);
  options.kernels.activations = ActivationMode::automatic;
  options.kv.reset();
  options.split_windows = 2;
  const Comparison whole = compare_formats(original, {{"text", long_text()}}, options, machine);
  EXPECT_EQ(whole.verdict.candidates[1].split->weights[Metric::kl_mean].value,
            exact.verdict.candidates[1].overall[Metric::kl_mean].value);
}

// Candidates that do not fit into memory together are read in several passes, with the same figures.
TEST(Compare, LittleMemoryChangesNothing) {
  ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  const SourceModel original = SourceModel::open(small_synth(scratch, machine.pool));
  CompareOptions options = quick({"q8_0", "int4:g32", "int2:g32"}, scratch);
  const Comparison roomy = compare_formats(original, {{"text", long_text()}}, options, machine);
  options.memory_bytes = 1;
  const Comparison tight = compare_formats(original, {{"text", long_text()}}, options, machine);
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_EQ(tight.verdict.candidates[i].overall[Metric::kl_mean].value,
              roomy.verdict.candidates[i].overall[Metric::kl_mean].value);
}

TEST(Compare, JudgesAllNamesBeforeItBegins) {
  ScratchDirectory scratch;
  Machine machine(chosen_isa(), 2);
  const SourceModel original = SourceModel::open(small_synth(scratch, machine.pool));
  CompareOptions options = quick({"q8_0", "q9_9"}, scratch);
  options.progress = [](const Progress&) {
    ADD_FAILURE() << "work began";
    return true;
  };
  EXPECT_NE(error_of([&] { compare_formats(original, {{"text", long_text()}}, options, machine); }).find("q9_9"),
            std::string::npos);
  EXPECT_EQ(error_of([&] { compare_formats(original, {{"text", long_text()}}, quick({}, scratch), machine); }),
            "no formats to compare; name some");
  EXPECT_EQ(scratch.num_entries(), 1u);
}

}  // namespace
}  // namespace nibble
