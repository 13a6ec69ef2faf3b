// SPDX-License-Identifier: Apache-2.0
#include "pipeline/budget/sensitivity.h"
#include "kernels/chosen_isa.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "pipeline/budget/budget_plan.h"
#include "pipeline/models.h"

namespace nibble {
namespace {

std::vector<std::string> names_of(const std::vector<FormatPtr>& formats) {
  std::vector<std::string> names;
  for (const FormatPtr& format : formats) names.push_back(format->name());
  return names;
}

TEST(CandidateFormats, AreWhatIsStored) {
  EXPECT_EQ(names_of(candidate_formats({}, 1536)),
            (std::vector<std::string>{"q2_k", "q3_k", "iq4_xs", "q4_k", "q5_k", "q6_k", "q8_0"}));
  EXPECT_EQ(names_of(candidate_formats({}, 576)),
            (std::vector<std::string>{"q4_0", "iq4_nl", "q4_1", "q5_0", "q5_1", "q8_0"}));
  EXPECT_EQ(names_of(candidate_formats({}, 33)), (std::vector<std::string>{"f16"}));
}

TEST(InterpolatedLoss, FollowsErrorsBetweenWhatWasMeasured) {
  const std::vector<MeasuredLoss> measured = {{8, 0.3}, {2, 0.003}};
  EXPECT_DOUBLE_EQ(interpolated_loss(measured, 8), 0.3);
  EXPECT_DOUBLE_EQ(interpolated_loss(measured, 2), 0.003);
  EXPECT_NEAR(interpolated_loss(measured, 4), 0.03, 1e-12);  // half of the way in both logarithms
  EXPECT_DOUBLE_EQ(interpolated_loss(measured, 1), 0.0015);  // beyond: in proportion
  EXPECT_DOUBLE_EQ(interpolated_loss(measured, 16), 0.6);
}

TEST(Disagree, InEitherDirection) {
  EXPECT_FALSE(disagree(0.020, 0.029));
  EXPECT_TRUE(disagree(0.020, 0.031));
  EXPECT_TRUE(disagree(0.031, 0.020));
  EXPECT_TRUE(disagree(0, 1e-3));
}

class SensitivityOfModels : public ::testing::Test {
 protected:
  static std::vector<CalibrationText> text() {
    std::string lines;
    for (int i = 0; i < 1200; ++i) lines += "Line number " + std::to_string(i * 7919 % 1200) + " of the text.\n";
    return {{"lines.txt", lines}};
  }
  static SensitivityOptions options(const std::string& method) {
    SensitivityOptions chosen;
    chosen.method = find_method(method);
    chosen.sampling = {.samples = 2, .length = 32};
    chosen.calibration = {.samples = 8, .length = 64};
    return chosen;
  }
  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
};

TEST_F(SensitivityOfModels, IsTheSameForAnyNumberOfThreads) {
  const SourceModel model = SourceModel::open(small_synth(scratch_, machine_.pool, 64));
  Machine one(chosen_isa(), 1);
  const Sensitivities a = measure_sensitivities(model, text(), options("gptq"), one);
  const Sensitivities b = measure_sensitivities(model, text(), options("gptq"), machine_);
  ASSERT_EQ(a.items.size(), 9u);  // four of each layer, the tied embedding
  EXPECT_GE(a.probes, a.items.size());
  for (std::size_t i = 0; i < a.items.size(); ++i)
    for (std::size_t c = 0; c < a.items[i].candidates.size(); ++c) {
      EXPECT_EQ(a.items[i].candidates[c].loss, b.items[i].candidates[c].loss) << a.items[i].name;
      EXPECT_GT(a.items[i].candidates[c].loss, 0) << a.items[i].name;
    }
}

// One row that holds nearly all of the loss is seen, whichever it is.
TEST_F(SensitivityOfModels, SeesARowThatMatters) {
  const std::filesystem::path plain = small_synth(scratch_, machine_.pool, 64);
  const auto edited =
      edited_copy(plain, "model.layers.1.mlp.down_proj.weight", scratch_ / "edited", [](std::span<float> values) {
        for (std::size_t i = 0; i < 128; ++i) values[37 * 128 + i] *= 40;
      });
  std::filesystem::copy_file(plain / "tokenizer.json", edited / "tokenizer.json",
                             std::filesystem::copy_options::skip_existing);
  const auto loss_of = [&](const std::filesystem::path& path) {
    const Sensitivities s = measure_sensitivities(SourceModel::open(path), text(), options("rtn"), machine_);
    const auto item = std::ranges::find(s.items, "layer 1, down", &BudgetItem::name);
    return item->candidates.front().loss;
  };
  EXPECT_GT(loss_of(edited), 2 * loss_of(plain));
}

TEST_F(SensitivityOfModels, MeasuresWholeRecipesByWhatTheyChange) {
  const SourceModel model = SourceModel::open(small_synth(scratch_, machine_.pool, 64));
  SensitivityProbe probe(model, text(), options("rtn"), machine_);
  const std::vector<double> kl =
      probe.divergences({find_recipe("source"), find_recipe("q4_0"), find_recipe("q8_0"), find_recipe("q4_0")});
  EXPECT_EQ(kl[0], 0);
  EXPECT_GT(kl[1], 20 * kl[2]);
  EXPECT_GT(kl[2], 0);
  EXPECT_EQ(kl[1], kl[3]);
  EXPECT_TRUE(probe.are_alike(find_recipe("mix:q8_0"), find_recipe("q8_0")));
  EXPECT_FALSE(probe.are_alike(find_recipe("q4_0"), find_recipe("q8_0")));
  EXPECT_GT(probe.bytes_of(find_recipe("q8_0")), probe.bytes_of(find_recipe("q4_0")));
}

TEST_F(SensitivityOfModels, PlansNoMixThatLosesToItsRivals) {
  const SourceModel model = SourceModel::open(small_synth(scratch_, machine_.pool, 64));
  SensitivityProbe probe(model, text(), options("rtn"), machine_);
  const std::uint64_t bytes = probe.bytes_of(find_recipe("q5_0"));
  for (const Recipe& rival : rivals(probe, bytes, 2)) EXPECT_LE(probe.bytes_of(rival), bytes);
  ASSERT_FALSE(rivals(probe, bytes, 2).empty());
  Sensitivities sensitivities = probe.measure();
  // Losses turned upside down mislead the solver as badly as can be.
  for (BudgetItem& item : sensitivities.items)
    for (BudgetCandidate& candidate : item.candidates) candidate.loss = static_cast<double>(candidate.bytes);
  const PlannedMix plan = plan_mix(probe, sensitivities, {.bytes = bytes});
  EXPECT_LE(plan.solved.bytes, bytes);
  for (const MeasuredMix& mix : plan.measured) EXPECT_LE(plan.solved.expected_kl, mix.kl) << mix.name;
}

}  // namespace
}  // namespace nibble
