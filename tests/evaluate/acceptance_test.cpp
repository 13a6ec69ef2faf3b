// SPDX-License-Identifier: Apache-2.0
#include "evaluate/acceptance.h"

#include <gtest/gtest.h>

#include "model/tiny_models.h"

namespace nibble {
namespace {

// A candidate whose every figure is `value` with one-sided bounds lower and upper.
PairedVerdict verdict_with(double value, double lower, double upper) {
  PairedVerdict verdict;
  verdict.context = 512;
  verdict.windows = verdict.windows_planned = 100;
  verdict.tokens_scored = 25500;
  verdict.candidates.resize(1);
  verdict.candidates[0].overall.blocks = 100;
  for (Figure& figure : verdict.candidates[0].overall.figures) {
    figure.value = value;
    figure.certainty = Certainty::interval;
    figure.lower_bound = lower;
    figure.upper_bound = upper;
  }
  return verdict;
}

Acceptance judged(const PairedVerdict& verdict, std::string_view rules) {
  return accept(verdict, 0, parse_requirements(rules));
}

TEST(Requirements, AreParsed) {
  const auto rules = parse_requirements(" kl<=0.02, top1 >= 0.97 ,ppl_ratio<=1.02");
  ASSERT_EQ(rules.size(), 3u);
  EXPECT_EQ(rules[0].metric, Metric::kl_mean);
  EXPECT_EQ(rules[0].limit, Limit::at_most);
  EXPECT_EQ(rules[0].value, 0.02);
  EXPECT_EQ(rules[1].metric, Metric::top1_agreement);
  EXPECT_EQ(rules[1].limit, Limit::at_least);
  EXPECT_EQ(rules[2].metric, Metric::perplexity_ratio);
}

TEST(Requirements, ThatAreNone) {
  const auto message = [](std::string_view rules) { return error_of([&] { parse_requirements(rules); }).second; };
  EXPECT_EQ(message("kl=0.02"), "a requirement is written NAME<=NUMBER or NAME>=NUMBER, as in kl<=0.02: 'kl=0.02'");
  EXPECT_EQ(message("kl<0.02"), "a requirement is written NAME<=NUMBER or NAME>=NUMBER, as in kl<=0.02: 'kl<0.02'");
  EXPECT_EQ(message("kl<=low"), "the limit of a requirement must be a number: 'kl<=low'");
  EXPECT_EQ(message("kl<=0.02x"), "the limit of a requirement must be a number: 'kl<=0.02x'");
  EXPECT_TRUE(
      message("speed>=3").starts_with("nothing called 'speed' can be required; known are ppl, ppl_ratio, kl, "));
  EXPECT_TRUE(message("kl_max<=3").starts_with("nothing called 'kl_max'"));  // no sample bounds a maximum
  EXPECT_TRUE(message(" , ").starts_with("nothing is required"));
}

TEST(Accept, ByOneSidedBounds) {
  const PairedVerdict verdict = verdict_with(0.5, 0.4, 0.6);
  EXPECT_EQ(judged(verdict, "kl<=0.6").judgement, Judgement::accepted);
  EXPECT_EQ(judged(verdict, "kl<=0.59").judgement, Judgement::undecided);
  EXPECT_EQ(judged(verdict, "kl<=0.4").judgement, Judgement::undecided);
  EXPECT_EQ(judged(verdict, "kl<=0.39").judgement, Judgement::rejected);
  EXPECT_EQ(judged(verdict, "top1>=0.4").judgement, Judgement::accepted);
  EXPECT_EQ(judged(verdict, "top1>=0.41").judgement, Judgement::undecided);
  EXPECT_EQ(judged(verdict, "top1>=0.61").judgement, Judgement::rejected);
}

TEST(Accept, OneRejectionRejectsAndOneDoubtLeavesDoubt) {
  const PairedVerdict verdict = verdict_with(0.5, 0.4, 0.6);
  EXPECT_EQ(judged(verdict, "kl<=0.7, top1>=0.3").judgement, Judgement::accepted);
  EXPECT_EQ(judged(verdict, "kl<=0.7, top1>=0.5").judgement, Judgement::undecided);
  EXPECT_EQ(judged(verdict, "kl<=0.5, top1>=0.9").judgement, Judgement::rejected);
  EXPECT_EQ(judged(verdict, "top1>=0.9, kl<=0.5").judgement, Judgement::rejected);
}

TEST(Accept, SaysHowMuchTextWouldDecide) {
  const PairedVerdict verdict = verdict_with(0.5, 0.4, 0.6);
  // The bound is 0.1 away and must come within 0.05: four times the text, and a tenth more.
  EXPECT_EQ(judged(verdict, "kl<=0.55").windows_needed, 440u);
  EXPECT_EQ(judged(verdict, "kl<=0.55, kl_p50<=0.51").windows_needed, 11000u);
  EXPECT_EQ(judged(verdict, "kl<=0.5").windows_needed, 0u);
  EXPECT_EQ(judged(verdict, "kl<=0.55, kl_p50<=0.5").windows_needed, 0u);
  EXPECT_EQ(judged(verdict, "kl<=0.9").windows_needed, 0u);
}

TEST(Accept, WithoutAnIntervalNothingIsDecided) {
  PairedVerdict verdict = verdict_with(0, 0, 0);
  verdict.windows = verdict.windows_planned = 10;
  verdict.tokens_scored = 2550;
  for (Figure& figure : verdict.candidates[0].overall.figures) figure.certainty = Certainty::too_few_blocks;
  const Acceptance few = judged(verdict, "kl<=1");
  EXPECT_EQ(few.judgement, Judgement::undecided);
  EXPECT_EQ(few.windows_needed, kFewestBlocks);
  EXPECT_EQ(judged(verdict, "kl_p999<=1").windows_needed, 20000u / 255 + 1);
}

// A floor under a loss, or a ceiling over an agreement, is a slip of the hand.
TEST(Accept, ALimitOnTheWrongSideIsRefused) {
  EXPECT_EQ(error_of([] { parse_requirements("kl>=0.02"); }).second,
            "kl is the better the smaller it is; a requirement is kl<=NUMBER: 'kl>=0.02'");
  EXPECT_EQ(error_of([] { parse_requirements("top1_weights<=0.9"); }).second,
            "top1_weights is the better the larger it is; a requirement is top1_weights>=NUMBER: 'top1_weights<=0.9'");
}

TEST(Accept, TheWeightsAloneByTheSplit) {
  const auto rules = parse_requirements("kl_weights<=0.02, kl<=1, top1_weights>=0.97");
  EXPECT_TRUE(rules[0].of_weights);
  EXPECT_FALSE(rules[1].of_weights);
  EXPECT_EQ(rules[2].metric, Metric::top1_agreement);
  EXPECT_TRUE(judge_weights(rules));
  EXPECT_FALSE(judge_weights({rules[1]}));
  PairedVerdict verdict = verdict_with(0.5, 0.4, 0.6);
  verdict.candidates[0].name = "q4.gguf";
  EXPECT_EQ(error_of([&] { judged(verdict, "kl<=1, kl_weights<=1"); }).second,
            "the weights alone can be judged only where the loss is split into theirs and the arithmetic's, for which "
            "windows are read with products in f32, too; ask for some (split_windows): q4.gguf");
  verdict.candidates[0].split = LossSplit{
      .windows = 40, .weights = verdict_with(0.25, 0.15, 0.35).candidates[0].overall, .as_run = {}, .arithmetic = {}};
  EXPECT_EQ(judged(verdict, "kl_weights<=0.35").judgement, Judgement::accepted);
  EXPECT_EQ(judged(verdict, "kl<=0.35").judgement, Judgement::rejected);
  const Acceptance undecided = judged(verdict, "kl_weights<=0.3");
  EXPECT_EQ(undecided.judgement, Judgement::undecided);
  EXPECT_EQ(undecided.results[0].windows_read, 40u);
  EXPECT_EQ(undecided.windows_needed, 176u);  // twice as near takes four times the 40 windows, and a tenth more
}

}  // namespace
}  // namespace nibble
