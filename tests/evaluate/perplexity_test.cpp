// SPDX-License-Identifier: Apache-2.0
//
// The perplexity of a model alone: a pass without candidates.
#include <gtest/gtest.h>

#include <cmath>

#include "evaluate/side_by_side.h"
#include "evaluate/verdict.h"
#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"

namespace nibble {
namespace {

PairedVerdict read_alone(Decoder& decoder, const Windows& windows, const EvaluateOptions& options, Machine& machine) {
  SideBySide pass({{"text", windows}}, 0);
  pass.run(decoder, {}, 0, options, machine.pool);
  return judge(pass, {}, machine.pool);
}

class PerplexityOf : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(All, PerplexityOf, testing::Values("tiny_gqa_llama3rope", "tiny_tied"),
                         [](const auto& p) { return std::string(p.param); });

// One window over all ids scores every token but the first: the mean that transformers gives.
TEST_P(PerplexityOf, AgreesWithTransformers) {
  const ReferenceLogits reference = ReferenceLogits::read(GetParam());
  Machine machine(chosen_isa(), 2);
  Decoder decoder(SourceModel::open(data_directory() / GetParam()), exact_options(), machine);
  const Windows windows =
      cut_windows(reference.ids, std::nullopt, 128, {.protocol = Protocol::paper, .context = reference.ids.size()});
  const PairedVerdict p = read_alone(decoder, windows, {}, machine);
  EXPECT_EQ(p.tokens_scored, reference.ids.size() - 1);
  EXPECT_NEAR(std::log(p.original_perplexity.value), reference.mean_nll, 1e-4 * reference.mean_nll);
}

TEST_P(PerplexityOf, EveryScoredTokenIsPredictedFromThoseBeforeIt) {
  const ReferenceLogits reference = ReferenceLogits::read(GetParam());
  Machine machine(chosen_isa(), 3);
  Decoder decoder(SourceModel::open(data_directory() / GetParam()), exact_options(), machine);
  const Windows windows = cut_windows(reference.ids, 7, 128, {.context = 30});
  ASSERT_EQ(windows.count, 3u);
  const PairedVerdict p = read_alone(decoder, windows, {}, machine);
  EXPECT_EQ(p.tokens_scored, 3u * 14);

  const std::size_t vocab = decoder.config().vocab_size;
  double sum = 0, squares = 0;
  for (std::size_t w = 0; w < 3; ++w) {
    std::vector<std::int32_t> ids(reference.ids.begin() + static_cast<std::ptrdiff_t>(w * 30),
                                  reference.ids.begin() + static_cast<std::ptrdiff_t>(w * 30 + 30));
    ids[0] = 7;
    const std::vector<float> logits = all_logits(decoder, ids);
    for (std::size_t t = 15; t + 1 < 30; ++t) {
      double total = 0;
      for (std::size_t i = 0; i < vocab; ++i) total += std::exp(static_cast<double>(logits[t * vocab + i]));
      const double nll =
          std::log(total) - static_cast<double>(logits[t * vocab + static_cast<std::size_t>(ids[t + 1])]);
      sum += nll;
      squares += nll * nll;
    }
  }
  const double n = 3 * 14, mean = sum / n;
  EXPECT_NEAR(p.original_perplexity.value, std::exp(mean), 1e-9 * std::exp(mean));
  // llama-perplexity's "+/-".
  const double error = std::exp(mean) * std::sqrt((squares / n - mean * mean) / (n - 1));
  EXPECT_NEAR(p.original_perplexity.gaussian_error, error, 1e-6 * error);
}

TEST(Perplexity, ThreadsDoNotMatter) {
  const ReferenceLogits reference = ReferenceLogits::read("tiny_tied");
  std::vector<double> results;
  for (const std::size_t threads : {1, 4}) {
    Machine machine(chosen_isa(), threads);
    Decoder decoder(SourceModel::open(data_directory() / "tiny_tied"), exact_options(), machine);
    results.push_back(read_alone(decoder, cut_windows(reference.ids, 7, 128, {.context = 25}), {}, machine)
                          .original_perplexity.value);
  }
  EXPECT_EQ(results[0], results[1]);
}

TEST(Perplexity, ReportsAndStops) {
  const ReferenceLogits reference = ReferenceLogits::read("tiny_tied");
  Machine machine(chosen_isa(), 1);
  Decoder decoder(SourceModel::open(data_directory() / "tiny_tied"), exact_options(), machine);
  const Windows windows = cut_windows(reference.ids, 7, 128, {.context = 25});
  std::uint64_t last = 0;
  EvaluateOptions options;
  options.progress = [&](const Progress& p) {
    EXPECT_EQ(p.stage, "evaluate");
    EXPECT_EQ(p.total, windows.tokens_scored());
    last = p.done;
    return true;
  };
  read_alone(decoder, windows, options, machine);
  EXPECT_EQ(last, windows.tokens_scored());
  options.progress = [](const Progress&) { return false; };
  EXPECT_EQ(error_of([&] { read_alone(decoder, windows, options, machine); }).first, ErrorKind::cancelled);
}

TEST(Perplexity, WeightsThatOverflow) {
  ScratchDirectory scratch;
  EditableModel model = EditableModel::read(data_directory() / "tiny_gqa_llama3rope");
  std::string& norm = model.tensors.at("model.norm.weight").bytes;
  const float huge = 3e38f;
  for (std::size_t i = 0; i < 64; ++i) std::memcpy(norm.data() + i * sizeof huge, &huge, sizeof huge);
  model.write(scratch.path());
  Machine machine(chosen_isa(), 2);
  Decoder decoder(SourceModel::open(scratch.path()), exact_options(), machine);
  const Windows windows = cut_windows(std::vector<std::int32_t>(20, 3), std::nullopt, 128, {.context = 20});
  const auto [kind, message] = error_of([&] { read_alone(decoder, windows, {}, machine); });
  EXPECT_EQ(kind, ErrorKind::corrupt);
  EXPECT_TRUE(
      message.starts_with("the logits of the model are not finite, so its weights overflow: window 0, position "))
      << message;
}

}  // namespace
}  // namespace nibble
