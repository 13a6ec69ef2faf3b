// SPDX-License-Identifier: Apache-2.0
#include "evaluate/divergence.h"

#include <gtest/gtest.h>

#include <cmath>

#include "model/tiny_models.h"

namespace nibble {
namespace {

TEST(CompareLogits, AgainstTheDefinition) {
  // p = (1/2, 1/4, 1/4), q = (1/4, 1/2, 1/4): KL = 1/2 ln 2 - 1/4 ln 2. Logits may be shifted at will.
  const std::vector<float> p = {std::log(2.0f) + 3, 3, 3}, q = {-5, std::log(2.0f) - 5, -5};
  const PositionDivergence d = compare_logits(p, q);
  EXPECT_NEAR(d.kl, 0.25 * std::log(2.0), 1e-6);
  EXPECT_NEAR(d.log_sum_p, 3 + std::log(4.0), 1e-6);
  EXPECT_NEAR(d.log_sum_q, -5 + std::log(4.0), 1e-6);
  EXPECT_FALSE(d.same_top);
}

TEST(CompareLogits, EqualLogitsAreExactlyZero) {
  std::vector<float> p(1000);
  for (std::size_t i = 0; i < p.size(); ++i) p[i] = static_cast<float>(std::sin(static_cast<double>(i)) * 20);
  const PositionDivergence d = compare_logits(p, p);
  EXPECT_EQ(d.kl, 0.0);
  EXPECT_TRUE(d.same_top);
}

TEST(CompareLogits, LargeLogitsDoNotOverflow) {
  const std::vector<float> p = {3000, 2999}, q = {-3000, -2999};
  const double a = 1 / (1 + std::exp(-1.0)), b = 1 - a;
  EXPECT_NEAR(compare_logits(p, q).kl, a * std::log(a / b) + b * std::log(b / a), 1e-9);
}

TEST(Quantile, InterpolatesBetweenNeighbours) {
  const std::vector<double> values = {0, 1, 2, 3, 10};
  EXPECT_EQ(quantile(values, 0), 0);
  EXPECT_EQ(quantile(values, 0.5), 2);
  EXPECT_NEAR(quantile(values, 0.9), 3 + 0.6 * 7, 1e-12);
  EXPECT_EQ(quantile(values, 1), 10);
  EXPECT_EQ(quantile(std::vector<double>{4}, 0.999), 4);
}

class DivergenceOf : public testing::Test {
 protected:
  DivergenceOf()
      : pool(2),
        reference(ReferenceLogits::read("tiny_gqa_llama3rope")),
        original(Checkpoint::open(data_directory() / "tiny_gqa_llama3rope"), exact_options(), pool),
        windows(cut_windows(reference.ids, 7, 128, {.context = 20})) {}

  // The same model with one matrix scaled.
  Decoder changed(float factor) {
    EditableModel model = EditableModel::read(data_directory() / "tiny_gqa_llama3rope");
    std::string& bytes = model.tensors.at("lm_head.weight").bytes;
    for (std::size_t i = 0; i < bytes.size(); i += sizeof(float)) {
      float value;
      std::memcpy(&value, bytes.data() + i, sizeof value);
      value *= factor;
      std::memcpy(bytes.data() + i, &value, sizeof value);
    }
    model.write(scratch.path());
    return Decoder(Checkpoint::open(scratch.path()), exact_options(), pool);
  }

  ScratchDirectory scratch;
  ThreadPool pool;
  ReferenceLogits reference;
  Decoder original;
  Windows windows;
};

TEST_F(DivergenceOf, AModelAndItselfIsNothing) {
  Decoder twin(Checkpoint::open(data_directory() / "tiny_gqa_llama3rope"), exact_options(), pool);
  const Divergence d = measure_divergence(original, twin, windows, {}, pool);
  EXPECT_EQ(d.kl_mean, 0.0);
  EXPECT_EQ(d.kl_maximum, 0.0);
  EXPECT_EQ(d.top1_agreement, 1.0);
  EXPECT_EQ(d.perplexity_ratio, 1.0);
  EXPECT_EQ(d.original.tokens_scored, 5u * 9);
}

TEST_F(DivergenceOf, MatchesTheLogitsOfBothModels) {
  Decoder candidate = changed(0.8f);
  const Divergence d = measure_divergence(original, candidate, windows, {}, pool);
  const std::size_t vocab = 256;
  std::vector<double> kl;
  std::size_t same = 0;
  for (std::size_t w = 0; w < windows.count; ++w) {
    const std::vector<std::int32_t> ids(windows.window(w).begin(), windows.window(w).end());
    const std::vector<float> p = all_logits(original, ids), q = all_logits(candidate, ids);
    for (std::size_t t = 10; t + 1 < 20; ++t) {
      const auto row_p = std::span(p).subspan(t * vocab, vocab), row_q = std::span(q).subspan(t * vocab, vocab);
      double sum_p = 0, sum_q = 0, value = 0;
      for (std::size_t i = 0; i < vocab; ++i) {
        sum_p += std::exp(static_cast<double>(row_p[i]));
        sum_q += std::exp(static_cast<double>(row_q[i]));
      }
      for (std::size_t i = 0; i < vocab; ++i) {
        const double x = static_cast<double>(row_p[i]) - std::log(sum_p), y = static_cast<double>(row_q[i]) - std::log(sum_q);
        value += std::exp(x) * (x - y);
      }
      kl.push_back(value);
      same += std::max_element(row_p.begin(), row_p.end()) - row_p.begin() == std::max_element(row_q.begin(), row_q.end()) - row_q.begin();
    }
  }
  double mean = 0;
  for (const double value : kl) mean += value / static_cast<double>(kl.size());
  EXPECT_GT(mean, 0);
  EXPECT_NEAR(d.kl_mean, mean, 1e-9 * mean);
  EXPECT_NEAR(d.kl_maximum, *std::max_element(kl.begin(), kl.end()), 1e-9 * d.kl_maximum);
  EXPECT_LE(d.kl_p999, d.kl_maximum);
  EXPECT_GE(d.kl_p999, d.kl_mean);
  EXPECT_EQ(d.top1_agreement, static_cast<double>(same) / static_cast<double>(kl.size()));
  EXPECT_EQ(d.original.perplexity, measure_perplexity(original, windows, {}, pool).perplexity);
  EXPECT_EQ(d.candidate.perplexity, measure_perplexity(candidate, windows, {}, pool).perplexity);
  EXPECT_NEAR(d.perplexity_ratio, d.candidate.perplexity / d.original.perplexity, 1e-9);
  EXPECT_GT(d.perplexity_ratio_standard_error, 0);
}

TEST_F(DivergenceOf, VocabulariesOfDifferentSize) {
  Decoder other(Checkpoint::open(data_directory() / "tiny_tied"), exact_options(), pool);
  const auto [kind, message] = error_of([&] { measure_divergence(original, other, windows, {}, pool); });
  EXPECT_EQ(kind, ErrorKind::invalid_argument);
  EXPECT_EQ(message, "models with vocabularies of different size cannot be compared: original 256, candidate 320");
}

TEST_F(DivergenceOf, CanBeStopped) {
  EvaluateOptions options;
  options.progress = [](const Progress& p) { return p.done == 0; };
  Decoder candidate = changed(0.9f);
  EXPECT_EQ(error_of([&] { measure_divergence(original, candidate, windows, options, pool); }).first, ErrorKind::cancelled);
}

}  // namespace
}  // namespace nibble
