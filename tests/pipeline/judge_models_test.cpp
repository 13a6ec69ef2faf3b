// SPDX-License-Identifier: Apache-2.0
#include "pipeline/judge/judge_models.h"
#include "kernels/chosen_isa.h"

#include <gtest/gtest.h>

#include "pipeline/models.h"

namespace nibble {
namespace {

std::string some_text() {
  std::string text;
  for (int i = 0; i < 80; ++i) text += "So " + std::to_string(i * i) + " comes next. ";
  return text;
}

class JudgedModels : public testing::Test {
 protected:
  JudgedModels() : original(SourceModel::open(small_synth(scratch, machine.pool))) {
    quantize_to(scratch / "small", "q8_0", scratch / "q8.gguf", machine);
    options.windows = {Protocol::llama_cpp, 64, 3};
    options.split_windows = 2;
  }

  PairedVerdict judged(const SourceModel& against, const std::filesystem::path& model) {
    const SourceModel candidate = SourceModel::open(model);
    return judge_models(against, {{"candidate", &candidate}}, {{"text", some_text()}}, options, machine);
  }

  ScratchDirectory scratch;
  Machine machine{chosen_isa(), 2};
  SourceModel original;
  JudgeOptions options;
};

// The same weights, quantized losslessly or not at all, cost nothing but what arithmetic adds.
TEST_F(JudgedModels, WhatArithmeticAddsIsNotTheWeights) {
  const SourceModel q8 = SourceModel::open(scratch / "q8.gguf");
  QuantizeModelOptions widened;
  choose_format(widened, "f32");
  widened.output = scratch / "widened.gguf";
  widened.allow_requantize = true;
  quantize_model(q8, widened, machine, {});
  const PairedVerdict verdict = judged(SourceModel::open(scratch / "widened.gguf"), scratch / "q8.gguf");
  const LossSplit& split = verdict.candidates[0].split.value();
  EXPECT_EQ(split.windows, 2u);
  EXPECT_LT(split.weights[Metric::kl_mean].value, 1e-10);  // f32 sums in another order at most
  EXPECT_GT(split.as_run[Metric::kl_mean].value, 1e-7);
}

TEST_F(JudgedModels, NothingIsSplitAgainstAnOriginalThatRounds) {
  const SourceModel q8 = SourceModel::open(scratch / "q8.gguf");
  EXPECT_FALSE(judged(q8, scratch / "q8.gguf").candidates[0].split.has_value());
  options.split_required = true;
  EXPECT_TRUE(error_of([&] {
                judged(q8, scratch / "q8.gguf");
              }).starts_with("the weights alone cannot be told from the arithmetic"));
  options.kernels.activations = ActivationMode::f32;
  EXPECT_TRUE(judged(q8, scratch / "q8.gguf").candidates[0].split->same);
}

TEST_F(JudgedModels, NothingIsSplitUnlessAsked) {
  options.split_windows = 0;
  EXPECT_FALSE(judged(original, scratch / "q8.gguf").candidates[0].split.has_value());
  options.split_required = true;
  EXPECT_TRUE(error_of([&] {
                judged(original, scratch / "q8.gguf");
              }).starts_with("the weights alone are judged by reading windows with products in f32"));
}

// Two tokenizers may differ in control tokens alone; what is compared is what is read.
TEST_F(JudgedModels, ControlTokensAreComparedAsTheyAreRead) {
  std::filesystem::copy(scratch / "small", scratch / "other");
  std::string tokenizer = read_text(scratch / "other/tokenizer.json");
  for (std::size_t at = tokenizer.find("</s>"); at != std::string::npos; at = tokenizer.find("</s>"))
    tokenizer.replace(at, 4, "<|end|>");
  scratch.write("other/tokenizer.json", tokenizer);
  scratch.write("other/tokenizer_config.json", "{}");
  const SourceModel other = SourceModel::open(scratch / "other");
  const auto judge_text = [&](const std::string& text) {
    judge_models(original, {{"other", &other}}, {{"text", text}}, options, machine);
  };
  const std::string chat = some_text() + "</s>" + some_text();
  EXPECT_EQ(error_of([&] { judge_text(chat); }), "no error");
  options.windows.parse_special = true;
  EXPECT_EQ(error_of([&] { judge_text(some_text()); }), "no error");
  EXPECT_TRUE(error_of([&] {
                judge_text(chat);
              }).starts_with("other, text: the two models cut this text into different tokens"));
}

}  // namespace
}  // namespace nibble
