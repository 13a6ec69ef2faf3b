// SPDX-License-Identifier: Apache-2.0
//
// Runs of training: they learn, go on where they were saved with the same bits, stop when held-out text gets worse, and
// say what is wrong.
#include "train/trainer.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/chosen_isa.h"
#include "model/tiny_models.h"

namespace nibble {
namespace {

// A stream in which every token follows from the one before.
TokenStream counting(std::size_t count, std::int32_t first) {
  TokenStream stream;
  for (std::size_t i = 0; i < count; ++i) stream.ids.push_back((first + static_cast<std::int32_t>(i) * 7) % 50);
  return stream;
}

struct TrainingRun {
  SourceModel model = SourceModel::open(data_directory() / "tiny_qwen3");
  Machine machine;
  NetworkWeights weights;
  TokenStream training = counting(600, 3), held_out = counting(100, 11);
  Trainer trainer;

  explicit TrainingRun(const TrainerSettings& settings, std::size_t threads = 1, TokenStream held = counting(100, 11))
      : machine(chosen_isa(), threads),
        weights(trained(model, machine)),
        held_out(std::move(held)),
        trainer(model.parts().network(), weights, {training, held_out}, settings, machine) {}

  static NetworkWeights trained(const SourceModel& model, Machine& machine) {
    NetworkWeights weights(model, machine.pool);
    weights.train([](const NetworkWeight&) { return true; });
    return weights;
  }
  std::vector<std::vector<float>> values() const {
    std::vector<std::vector<float>> found;
    for (const NetworkWeight& weight : weights.all()) found.push_back(weight.values.values);
    return found;
  }
  void finish() {
    while (!trainer.is_done()) trainer.step();
  }
};

TrainerSettings short_run(OptimizerKind optimizer = OptimizerKind::adamw) {
  TrainerSettings settings;
  settings.steps = 12;
  settings.batch = {.size = 3, .length = 16, .seed = 5};
  settings.optimizer = optimizer;
  settings.rate = optimizer == OptimizerKind::sgd ? 0.05 : 0.003;
  settings.validate_every = 4;
  return settings;
}

TEST(Trainer, LearnsWithEveryOptimizer) {
  for (const OptimizerKind optimizer : {OptimizerKind::muon, OptimizerKind::adamw, OptimizerKind::sgd}) {
    TrainerSettings settings = short_run(optimizer);
    settings.steps = 40;
    TrainingRun run(settings);
    const double before = run.trainer.validation_loss();
    run.finish();
    EXPECT_LT(run.trainer.validation_loss(), before / 3) << optimizer_name(optimizer);
    const auto curve = run.trainer.curve(), validations = run.trainer.validations();
    ASSERT_EQ(curve.size(), 40u);
    ASSERT_EQ(validations.size(), 10u);
    EXPECT_LT(curve.back().loss, curve.front().loss / 3);
    EXPECT_EQ(validations.back().step, 40u);
    EXPECT_EQ(find_optimizer(optimizer_name(optimizer)), optimizer);
  }
}

TEST(Trainer, GoesOnWhereItWasSaved) {
  const ScratchDirectory scratch;
  for (const OptimizerKind optimizer : {OptimizerKind::muon, OptimizerKind::adamw}) {
    TrainerSettings settings = short_run(optimizer);
    settings.patience = 5;
    settings.accumulate = 2;
    TrainingRun whole(settings, 1);
    whole.finish();
    for (const std::uint64_t stop : {1u, 5u, 11u}) {
      TrainingRun first(settings, 3);
      while (first.trainer.steps_done() < stop) first.trainer.step();
      first.trainer.save(scratch / "state", {{"text", "a"}});
      TrainingRun second(settings, 2);
      second.trainer.take_up(scratch / "state", {{"text", "a"}});
      EXPECT_EQ(second.trainer.steps_done(), stop);
      second.finish();
      second.trainer.keep_best();
      TrainingRun expected(settings, 1);
      expected.finish();
      expected.trainer.keep_best();
      EXPECT_TRUE(second.values() == expected.values()) << stop;
      ASSERT_EQ(second.trainer.curve().size(), whole.trainer.curve().size());
      for (std::size_t i = 0; i < 12; ++i)
        EXPECT_EQ(second.trainer.curve()[i].loss, whole.trainer.curve()[i].loss) << stop << ' ' << i;
    }
  }
}

TEST(Trainer, RefusesTheStateOfAnotherRun) {
  const ScratchDirectory scratch;
  TrainingRun run(short_run());
  run.trainer.step();
  run.trainer.save(scratch / "state", {{"text", "a"}});
  const auto refused = [&](const TrainerSettings& settings, const std::string& text) {
    TrainingRun other(settings);
    return error_of([&] { other.trainer.take_up(scratch / "state", {{"text", text}}); }).second;
  };
  TrainerSettings longer = short_run(), faster = short_run();
  longer.steps = 13;
  faster.rate = 0.01;
  EXPECT_NE(refused(short_run(), "b").find("text: a there, b here"), std::string::npos);
  EXPECT_NE(refused(longer, "a").find("steps: 12 there, 13 here"), std::string::npos);
  EXPECT_NE(refused(faster, "a").find("rate: 0.003 there, 0.01 here"), std::string::npos);
}

// What is held out follows another rule: learning makes it worse, and the run ends with what it had before.
TEST(Trainer, StopsWhenHeldOutTextGetsWorse) {
  TokenStream other;
  for (std::size_t i = 0; i < 100; ++i) other.ids.push_back(static_cast<std::int32_t>(50 + i * i % 90));
  TrainerSettings settings = short_run();
  settings.steps = 200;
  settings.validate_every = 3;
  settings.patience = 2;
  TrainingRun run(settings, 1, other);
  run.finish();
  EXPECT_TRUE(run.trainer.stopped_early());
  EXPECT_LT(run.trainer.steps_done(), 200u);
  const double last = run.trainer.validation_loss();
  run.trainer.keep_best();
  EXPECT_LT(run.trainer.validation_loss(), last);
  EXPECT_NEAR(run.trainer.validation_loss(), *run.trainer.best_validation(), 1e-5);
}

TEST(Trainer, SaysWhatIsWrong) {
  const auto wrong = [](const TrainerSettings& settings, TokenStream held = counting(100, 1)) {
    return error_of([&] { TrainingRun(settings, 1, std::move(held)).finish(); }).second;
  };
  TrainerSettings settings = short_run();
  settings.batch.size = 60;
  EXPECT_NE(wrong(settings).find("shorter than a batch"), std::string::npos);
  settings = short_run();
  settings.steps = 0;
  EXPECT_NE(wrong(settings).find("at least one step"), std::string::npos);
  settings = short_run();
  settings.warm_up = 0.8, settings.hold = 0.3;
  EXPECT_NE(wrong(settings).find("between 0 and 1"), std::string::npos);
  EXPECT_NE(wrong(short_run(), counting(10, 1)).find("held-out text is shorter than a row"), std::string::npos);
  settings = short_run(OptimizerKind::sgd);
  settings.rate = 1e30, settings.clip = 0, settings.warm_up = 0;
  const std::string astray = wrong(settings);
  EXPECT_NE(astray.find("in step 2: the gradient's length is not finite, and the gradient by model."),
            std::string::npos)
      << astray;
  EXPECT_NE(astray.find("lower the rate"), std::string::npos) << astray;
  TrainingRun broken(short_run());
  broken.weights.find(1, "down")->values.values[3] = INFINITY;
  const std::string told = error_of([&] { broken.trainer.step(); }).second;
  EXPECT_NE(told.find("step 1: the loss is not finite, and the output of layer 1 is the first"), std::string::npos)
      << told;
}

}  // namespace
}  // namespace nibble
