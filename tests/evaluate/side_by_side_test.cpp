// SPDX-License-Identifier: Apache-2.0
#include "evaluate/side_by_side.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "evaluate/verdict.h"
#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"

namespace nibble {
namespace {

class SideBySideOf : public testing::Test {
 protected:
  SideBySideOf()
      : machine(chosen_isa(), 2),
        reference(ReferenceLogits::read("tiny_gqa_llama3rope")),
        original(SourceModel::open(data_directory() / "tiny_gqa_llama3rope"), exact_options(), machine),
        windows(cut_windows(reference.ids, 7, 128, {.context = 20})) {}

  // The same model with one matrix scaled.
  Decoder changed(float factor) { return changed(factor, exact_options()); }
  Decoder changed(float factor, const DecoderOptions& options) {
    EditableModel model = EditableModel::read(data_directory() / "tiny_gqa_llama3rope");
    std::string& bytes = model.tensors.at("lm_head.weight").bytes;
    for (std::size_t i = 0; i < bytes.size(); i += sizeof(float)) {
      float value;
      std::memcpy(&value, bytes.data() + i, sizeof value);
      value *= factor;
      if (i % 12 == 0) value += 0.01f;
      std::memcpy(bytes.data() + i, &value, sizeof value);
    }
    model.write(scratch.path());
    return Decoder(SourceModel::open(scratch.path()), options, machine);
  }

  SideBySide read(const std::vector<Decoder*>& candidates, std::vector<ReadText> texts) {
    SideBySide pass(std::move(texts), candidates.size());
    pass.run(original, candidates, 0, {}, machine.pool);
    return pass;
  }

  ScratchDirectory scratch;
  Machine machine;
  ReferenceLogits reference;
  Decoder original;
  Windows windows;
};

TEST_F(SideBySideOf, AModelAndItselfIsNothing) {
  Decoder twin(SourceModel::open(data_directory() / "tiny_gqa_llama3rope"), exact_options(), machine);
  const PairedVerdict verdict = judge(read({&twin}, {{"text", windows}}), {"twin"}, machine.pool);
  const MetricFigures& figures = verdict.candidates[0].overall;
  for (const Metric metric :
       {Metric::kl_mean, Metric::kl_median, Metric::kl_p999, Metric::kl_maximum, Metric::flips_to_wrong,
        Metric::flips_to_right, Metric::probability_rms, Metric::probability_mean, Metric::probability_p01})
    EXPECT_EQ(figures[metric].value, 0.0) << describe(metric).key;
  EXPECT_EQ(figures[Metric::top1_agreement].value, 1.0);
  EXPECT_EQ(figures[Metric::top5_agreement].value, 1.0);
  EXPECT_EQ(figures[Metric::perplexity_ratio].value, 1.0);
  EXPECT_EQ(figures[Metric::perplexity].value, verdict.original_perplexity.value);
  EXPECT_EQ(verdict.tokens_scored, 5u * 9);
  EXPECT_FALSE(verdict.partial());
}

TEST_F(SideBySideOf, MatchesTheLogitsOfBothModels) {
  Decoder candidate = changed(0.8f);
  const SideBySide pass = read({&candidate}, {{"text", windows}});
  const std::size_t vocab = 256;
  const auto rank = [&](std::span<const float> row, std::size_t token) {
    return std::count_if(row.begin(), row.end(), [&](float v) { return v > row[token]; });
  };
  std::size_t at = 0;
  for (std::size_t w = 0; w < windows.count; ++w) {
    const std::vector<std::int32_t> ids(windows.window(w).begin(), windows.window(w).end());
    const std::vector<float> p = all_logits(original, ids), q = all_logits(candidate, ids);
    for (std::size_t t = 10; t + 1 < 20; ++t, ++at) {
      const auto row_p = std::span(p).subspan(t * vocab, vocab), row_q = std::span(q).subspan(t * vocab, vocab);
      const auto target = static_cast<std::size_t>(ids[t + 1]);
      double sum_p = 0, sum_q = 0, kl = 0;
      for (std::size_t i = 0; i < vocab; ++i) {
        sum_p += std::exp(static_cast<double>(row_p[i]));
        sum_q += std::exp(static_cast<double>(row_q[i]));
      }
      std::size_t shared = 0, top = 0;
      for (std::size_t i = 0; i < vocab; ++i) {
        const double x = static_cast<double>(row_p[i]) - std::log(sum_p),
                     y = static_cast<double>(row_q[i]) - std::log(sum_q);
        kl += std::exp(x) * (x - y);
        shared += rank(row_p, i) < 5 && rank(row_q, i) < 5;
        if (rank(row_p, i) == 0) top = i;
      }
      const CandidateSamples& samples = pass.candidates()[0];
      EXPECT_NEAR(samples.kl[at], kl, 1e-9) << at;
      EXPECT_NEAR(samples.nll[at], std::log(sum_q) - static_cast<double>(row_q[target]), 1e-9);
      EXPECT_NEAR(pass.original_nll()[at], std::log(sum_p) - static_cast<double>(row_p[target]), 1e-9);
      EXPECT_EQ(samples.same_top1[at], rank(row_q, top) == 0);
      EXPECT_EQ(samples.same_top5[at], shared);
      EXPECT_EQ(samples.right[at], rank(row_q, target) == 0);
      EXPECT_EQ(pass.original_right()[at], rank(row_p, target) == 0);
    }
  }
  EXPECT_EQ(at, windows.tokens_scored());
}

// The figures, from the samples by their definitions.
TEST_F(SideBySideOf, FiguresFollowFromTheSamples) {
  Decoder candidate = changed(0.6f);
  const SideBySide pass = read({&candidate}, {{"text", windows}});
  const PairedVerdict verdict = judge(pass, {"changed"}, machine.pool);
  const MetricFigures& figures = verdict.candidates[0].overall;
  const CandidateSamples& samples = pass.candidates()[0];
  const double n = static_cast<double>(samples.kl.size());
  double kl = 0, difference = 0, squares = 0, change = 0, same = 0, wrong = 0;
  for (std::size_t i = 0; i < samples.kl.size(); ++i) {
    kl += samples.kl[i] / n;
    difference += (samples.nll[i] - pass.original_nll()[i]) / n;
    const double delta = std::exp(-samples.nll[i]) - std::exp(-pass.original_nll()[i]);
    change += delta / n;
    squares += delta * delta / n;
    same += samples.same_top1[i] / n;
    wrong += (pass.original_right()[i] == 1 && samples.right[i] == 0) / n;
  }
  EXPECT_GT(kl, 0);
  EXPECT_NEAR(figures[Metric::kl_mean].value, kl, 1e-12);
  EXPECT_NEAR(figures[Metric::perplexity_ratio].value, std::exp(difference), 1e-12);
  EXPECT_NEAR(figures[Metric::perplexity_ratio].value,
              figures[Metric::perplexity].value / verdict.original_perplexity.value, 1e-9);
  EXPECT_NEAR(figures[Metric::probability_mean].value, change, 1e-12);
  EXPECT_NEAR(figures[Metric::probability_rms].value, std::sqrt(squares), 1e-12);
  EXPECT_NEAR(figures[Metric::top1_agreement].value, same, 1e-12);
  EXPECT_NEAR(figures[Metric::flips_to_wrong].value, wrong, 1e-12);
  EXPECT_EQ(figures[Metric::kl_maximum].value, *std::max_element(samples.kl.begin(), samples.kl.end()));
  EXPECT_LE(figures[Metric::kl_median].value, figures[Metric::kl_p99].value);
  EXPECT_LE(figures[Metric::kl_p99].value, figures[Metric::kl_maximum].value);
  EXPECT_EQ(figures[Metric::kl_mean].certainty, Certainty::too_few_blocks);
  EXPECT_EQ(figures[Metric::kl_maximum].certainty, Certainty::none);
}

TEST_F(SideBySideOf, SeveralCandidatesAndTexts) {
  Decoder near = changed(0.9f), far = changed(0.5f);
  const Windows other = cut_windows(std::span(reference.ids).subspan(13), 7, 128, {.context = 20, .max_windows = 2});
  const std::vector<ReadText> texts = {{"first", windows}, {"second", other}};
  const SideBySide together = read({&near, &far}, texts);
  // In two runs the same numbers come out.
  SideBySide apart(texts, 2);
  Decoder* const one[] = {&near};
  Decoder* const two[] = {&far};
  apart.run(original, one, 0, {}, machine.pool);
  apart.run(original, two, 1, {}, machine.pool);
  EXPECT_EQ(together.candidates()[1].kl, apart.candidates()[1].kl);
  EXPECT_EQ(together.candidates()[0].nll, apart.candidates()[0].nll);

  const PairedVerdict verdict = judge(together, {"near", "far"}, machine.pool);
  ASSERT_EQ(verdict.candidates[1].texts.size(), 2u);
  EXPECT_EQ(verdict.texts[1].tokens_scored, 2u * 9);
  EXPECT_EQ(
      verdict.candidates[1].texts[0][Metric::kl_mean].value,
      judge(read({&far}, {{"first", windows}}), {"far"}, machine.pool).candidates[0].overall[Metric::kl_mean].value);
  const double whole = (5 * verdict.candidates[1].texts[0][Metric::kl_mean].value +
                        2 * verdict.candidates[1].texts[1][Metric::kl_mean].value) /
                       7;
  EXPECT_NEAR(verdict.candidates[1].overall[Metric::kl_mean].value, whole, 1e-12);
  ASSERT_EQ(verdict.contests.size(), 1u);
  EXPECT_NEAR(
      verdict.contests[0].kl_difference.value,
      verdict.candidates[0].overall[Metric::kl_mean].value - verdict.candidates[1].overall[Metric::kl_mean].value,
      1e-12);
  EXPECT_EQ(verdict.contests[0].result, Contest::undecided);  // seven windows decide nothing
}

TEST_F(SideBySideOf, AContestIsDecidedByItsPairedInterval) {
  Decoder near = changed(0.9f), far = changed(0.5f);
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 3; ++i)
    for (const std::int32_t id : reference.ids) ids.push_back((id * (i + 1) + i) % 256);
  const Windows enough = cut_windows(ids, 7, 128, {.context = 8});
  ASSERT_GE(enough.count, kFewestBlocks);
  const PairedVerdict verdict =
      judge(read({&near, &far, &near}, {{"text", enough}}), {"near", "far", "near again"}, machine.pool);
  EXPECT_EQ(verdict.contests[0].result, Contest::first_better);
  EXPECT_LT(verdict.contests[0].kl_difference.high, 0);
  EXPECT_EQ(verdict.contests[1].result, Contest::equal);
  const PairedVerdict turned = judge(read({&far, &near}, {{"text", enough}}), {"far", "near"}, machine.pool);
  EXPECT_EQ(turned.contests[0].result, Contest::second_better);
  // The identity is exact where there are intervals.
  Decoder twin(SourceModel::open(data_directory() / "tiny_gqa_llama3rope"), exact_options(), machine);
  const PairedVerdict same = judge(read({&twin}, {{"text", enough}}), {"twin"}, machine.pool);
  EXPECT_EQ(same.candidates[0].overall[Metric::kl_p999].high, 0);
  EXPECT_EQ(same.candidates[0].overall[Metric::top1_agreement].low, 1);
}

// The weights alone have the figures that they have as a candidate, on the windows of the split.
TEST_F(SideBySideOf, TheLossIsSplit) {
  DecoderOptions rounded = exact_options();
  rounded.kv = KvType::q4_0;
  Decoder as_run = changed(0.9f, rounded), weights = changed(0.9f), other = changed(0.7f);
  Decoder* const candidates[] = {&as_run, &other};
  Decoder* const alone[] = {&weights, nullptr};
  const std::vector<ReadText> texts = {{"first", windows}, {"second", windows}};
  SideBySide pass(texts, 2, 4);
  pass.run(original, candidates, 0, {.weights_alone = alone}, machine.pool);
  const SideBySide whole = read({&as_run, &weights}, texts);
  EXPECT_EQ(pass.candidates()[0].kl, whole.candidates()[0].kl);

  std::vector<double> kl_weights, kl_as_run;
  std::vector<std::size_t> held;
  for (std::size_t window = 0; window < 10; ++window) {
    if (!pass.split_windows().holds(window)) continue;
    held.push_back(window);
    for (std::size_t i = 9 * window; i < 9 * (window + 1); ++i) {
      kl_weights.push_back(whole.candidates()[1].kl[i]);
      kl_as_run.push_back(whole.candidates()[0].kl[i]);
    }
  }
  EXPECT_EQ(held, (std::vector<std::size_t>{2, 4, 7, 9}));
  EXPECT_EQ(pass.weights_alone()[0].kl, kl_weights);

  const PairedVerdict verdict = judge(pass, {"as run", "other"}, machine.pool);
  const LossSplit& split = verdict.candidates[0].split.value();
  const auto mean = [](const std::vector<double>& values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  };
  EXPECT_EQ(split.windows, 4u);
  EXPECT_FALSE(split.same);
  EXPECT_NEAR(split.weights[Metric::kl_mean].value, mean(kl_weights), 1e-12);
  EXPECT_NEAR(split.as_run[Metric::kl_mean].value, mean(kl_as_run), 1e-12);
  EXPECT_NEAR(split.arithmetic.kl_difference.value, mean(kl_as_run) - mean(kl_weights), 1e-12);
  EXPECT_NE(split.arithmetic.kl_difference.value, 0);
  const LossSplit& same = verdict.candidates[1].split.value();
  EXPECT_TRUE(same.same);
  EXPECT_EQ(same.windows, 10u);
  EXPECT_EQ(same.weights[Metric::kl_mean].value, verdict.candidates[1].overall[Metric::kl_mean].value);
  EXPECT_EQ(same.arithmetic.result, Contest::equal);
  EXPECT_FALSE(judge(whole, {"as run", "weights"}, machine.pool).candidates[0].split.has_value());
}

TEST_F(SideBySideOf, AStopSplitsWhatWasRead) {
  Decoder as_run = changed(0.9f), weights = changed(0.8f);
  Decoder* const candidates[] = {&as_run};
  Decoder* const alone[] = {&weights};
  SideBySide pass({{"first", windows}, {"second", windows}}, 1, 2);  // the fifth window and the tenth
  EvaluateOptions options{.weights_alone = alone};
  options.progress = [](const Progress& p) { return p.done == 0; };
  EXPECT_EQ(error_of([&] { pass.run(original, candidates, 0, options, machine.pool); }).first, ErrorKind::cancelled);
  const std::size_t done = pass.windows_done(1);
  ASSERT_GT(done, 0u);
  const std::optional<LossSplit> split = judge(pass, {"as run"}, machine.pool).candidates[0].split;
  ASSERT_EQ(split.has_value(), done >= 5);
  EXPECT_EQ(split ? split->windows : 0, done / 5);
}

TEST_F(SideBySideOf, ThreadsDoNotMatter) {
  std::vector<double> kl, low;
  for (const std::size_t threads : {1, 3}) {
    Machine own(chosen_isa(), threads);
    Decoder a(SourceModel::open(data_directory() / "tiny_gqa_llama3rope"), exact_options(), own);
    Decoder b = changed(0.7f);
    Decoder* const both[] = {&b};
    SideBySide pass({{"text", cut_windows(reference.ids, 7, 128, {.context = 4})}}, 1);
    pass.run(a, both, 0, {}, machine.pool);
    kl.push_back(pass.candidates()[0].kl[3]);
    low.push_back(judge(pass, {"b"}, own.pool).candidates[0].overall[Metric::kl_mean].value);
  }
  EXPECT_EQ(kl[0], kl[1]);
  EXPECT_EQ(low[0], low[1]);
}

TEST_F(SideBySideOf, VocabulariesOfDifferentSize) {
  Decoder other(SourceModel::open(data_directory() / "tiny_tied"), exact_options(), machine);
  const auto [kind, message] = error_of([&] { read({&other}, {{"text", windows}}); });
  EXPECT_EQ(kind, ErrorKind::unsupported);
  EXPECT_EQ(message,
            "models whose vocabularies differ in size (one may be padded) cannot be compared; make the candidate from "
            "this very original: original "
            "256, candidate 320");
}

TEST_F(SideBySideOf, WhatWasReadBeforeAStopIsKept) {
  EvaluateOptions options;
  // Reports come at most ten times a second, so that only the first and the last are certain: the stop is at the
  // beginning or not at all.
  options.progress = [](const Progress& p) { return p.done == 0; };
  Decoder candidate = changed(0.9f);
  Decoder* const candidates[] = {&candidate};
  SideBySide pass({{"first", windows}, {"second", windows}}, 1);
  EXPECT_EQ(error_of([&] { pass.run(original, candidates, 0, options, machine.pool); }).first, ErrorKind::cancelled);
  const std::size_t done = pass.windows_done(1);
  ASSERT_GT(done, 0u);
  const PairedVerdict verdict = judge(pass, {"candidate"}, machine.pool);
  EXPECT_EQ(verdict.windows, done);
  EXPECT_EQ(verdict.partial(), done < 10);
  EXPECT_EQ(verdict.texts[0].windows, std::min<std::size_t>(5, done));

  SideBySide untouched({{"first", windows}}, 1);
  options.progress = [](const Progress&) { return false; };
  EXPECT_EQ(error_of([&] { untouched.run(original, candidates, 0, options, machine.pool); }).first,
            ErrorKind::cancelled);
  EXPECT_EQ(error_of([&] { judge(untouched, {"candidate"}, machine.pool); }).second,
            "not one window was read, so there is nothing to judge: 0 of 5");
}

}  // namespace
}  // namespace nibble
