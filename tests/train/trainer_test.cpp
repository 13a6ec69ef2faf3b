// SPDX-License-Identifier: Apache-2.0
//
// Runs of training: they learn, go on where they were saved with the same bits, stop when held-out text gets worse, and
// say what is wrong.
#include "train/trainer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

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

TEST(Trainer, AStepThatWasStoppedHasNotBegun) {
  TrainerSettings settings = short_run(OptimizerKind::muon);
  settings.accumulate = 2;
  TrainingRun whole(settings);
  whole.finish();
  const ScratchDirectory scratch;
  for (const int look : {1, 40, 150, 400, 1000}) {
    TrainingRun run(settings, 2), next(settings);
    int looks = 0, stops = 0;
    const ThreadPool::Watch watch(run.machine.pool, [&] {
      if (++looks == look) throw std::runtime_error("stopped");
    });
    while (!run.trainer.is_done()) {
      try {
        run.trainer.step();
      } catch (const std::runtime_error&) {
        ++stops;
        run.trainer.save(scratch / "state", {});
      }
    }
    ASSERT_EQ(stops, 1) << look << " of " << looks;
    EXPECT_TRUE(run.values() == whole.values()) << look;
    next.trainer.take_up(scratch / "state", {});
    next.finish();
    EXPECT_TRUE(next.values() == whole.values()) << look;
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

// Whatever a run has come to, it is no model where its losses are none, or worse than those of a guess: an error where
// steps are to come, a doubt behind the last.
TEST(Trainer, ARunThatGoesAstrayIsAnError) {
  const auto astray = [](TrainerSettings settings) {
    TrainingRun run(settings);
    return error_of([&] { run.finish(); }).second;
  };
  const auto doubt = [](TrainerSettings settings) {
    TrainingRun run(settings);
    run.finish();
    run.trainer.keep_best();
    return run.trainer.doubt();
  };
  TrainerSettings settings = short_run();
  settings.warm_up = settings.hold = 0;
  settings.begins_trained = true;
  settings.rate = 3;
  const std::string early = astray(settings);
  EXPECT_NE(early.find("training has gone astray: the loss of the held-out text was"), std::string::npos) << early;
  EXPECT_NE(early.find("in step 0, is"), std::string::npos) << early;
  EXPECT_NE(early.find("in step 4, that of the text that is learnt from"), std::string::npos) << early;
  EXPECT_NE(early.find("lower the rate"), std::string::npos) << early;
  settings.validate_every = 20;
  const std::string judged = doubt(settings);
  EXPECT_NE(judged.find("in step 12, that of the text that is learnt from"), std::string::npos) << judged;
  settings.validate_every = 0;
  EXPECT_EQ(doubt(settings), "");  // batches one by one say little
  settings.begins_trained = false;
  settings.rate = 0.003;
  settings.validate_every = 4;
  EXPECT_EQ(doubt(settings), "");
  settings.validate_every = 0;
  settings.steps = 1;
  settings.rate = 1e39;
  const std::string last = astray(settings);  // nothing looks at what the only step has made
  EXPECT_NE(last.find("gone astray in step 1: a number of"), std::string::npos) << last;
  TrainingRun run(short_run());
  run.weights.all()[0].values.values[0] = std::numeric_limits<float>::quiet_NaN();
  const std::string infinite = error_of([&] { run.trainer.validation_loss(); }).second;
  EXPECT_NE(infinite.find("in step 0: the loss of the held-out text is not finite"), std::string::npos) << infinite;
}

// Held-out text of another rule is lost while the other is learnt: no rate is to blame.
TEST(Trainer, OtherHeldOutTextIsNoSign) {
  TokenStream other;
  for (std::size_t i = 0; i < 100; ++i) other.ids.push_back(static_cast<std::int32_t>(50 + i * i % 90));
  TrainerSettings settings = short_run();
  settings.steps = 200;
  settings.rate = 0.01;
  settings.begins_trained = true;
  TrainingRun run(settings, 1, other);
  run.finish();
  const std::vector<LossPoint> judged = run.trainer.validations();
  EXPECT_GT(judged.back().loss, judged.front().loss);
  EXPECT_LT(run.trainer.curve().back().loss, 0.5);
  EXPECT_EQ(run.trainer.doubt(), "");
}

// What a judgement takes is taken when it is made.
TEST(Trainer, JudgementsThatAreFarTakeNoMemory) {
  TrainerSettings settings = short_run();
  settings.steps = std::uint64_t{1} << 60;
  settings.validate_every = 1;
  TrainingRun run(settings);
  run.trainer.step();
  EXPECT_EQ(run.trainer.validations().size(), 1u);
}

// What knows what its teacher does begins with no loss at all, and is astray long before it is worse than guessing.
TEST(Trainer, ARunBesideATeacherIsAstrayWhereItGuesses) {
  const SourceModel model = SourceModel::open(data_directory() / "tiny_qwen3");
  Machine machine(chosen_isa(), 1);
  NetworkWeights weights = TrainingRun::trained(model, machine), taught(model, machine.pool);
  Tape teacher(model.parts().network(), taught, {}, machine);
  const TokenStream training = counting(600, 3), held_out = counting(100, 11);
  TrainerSettings settings = short_run();
  settings.warm_up = settings.hold = 0;
  settings.rate = 1;
  settings.begins_trained = true;
  Trainer trainer(model.parts().network(), weights, {training, held_out}, settings, machine, {.teacher = &teacher});
  const std::string told = error_of([&] {
                             while (!trainer.is_done()) trainer.step();
                           }).second;
  EXPECT_NE(told.find("gone astray: the loss of the held-out text was 0 in step 0"), std::string::npos) << told;
  EXPECT_NE(told.find("in step 4, that of the text"), std::string::npos) << told;
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
  EXPECT_NEAR(run.trainer.validation_loss(), run.trainer.best_validation()->loss, 1e-5);
}

TEST(Trainer, IsJudgedInTheEndWhateverTheSteps) {
  TrainerSettings settings = short_run();
  settings.steps = 5;
  TrainingRun run(settings);
  run.finish();
  ASSERT_EQ(run.trainer.validations().size(), 2u);
  EXPECT_EQ(run.trainer.validations()[0].step, 4u);
  EXPECT_EQ(run.trainer.validations()[1].step, 5u);
  settings.validate_every = 100;
  TrainingRun shorter(settings), untold(settings, 1, counting(10, 1));
  shorter.finish();
  ASSERT_EQ(shorter.trainer.validations().size(), 1u);
  EXPECT_EQ(shorter.trainer.validations()[0].step, 5u);
  untold.finish();  // too little text to judge by, and nobody asked
  EXPECT_TRUE(untold.trainer.validations().empty());
}

// A run that makes a trained model worse ends with that model.
TEST(Trainer, WhatItBeginsWithMayBeTheBest) {
  TrainerSettings settings = short_run();
  settings.steps = 40;
  TrainingRun learnt(settings);
  learnt.finish();
  const auto before = learnt.values();
  settings.rate = 0.3;
  settings.clip = 0;
  settings.patience = 2;
  settings.begins_trained = true;
  Trainer again(learnt.model.parts().network(), learnt.weights, {learnt.training, learnt.held_out}, settings,
                learnt.machine);
  while (!again.is_done()) again.step();
  EXPECT_TRUE(again.stopped_early());
  ASSERT_FALSE(again.validations().empty());
  EXPECT_EQ(again.validations().front().step, 0u);
  EXPECT_TRUE(learnt.values() != before);
  again.keep_best();
  EXPECT_TRUE(learnt.values() == before);
}

TEST(Trainer, LearnsWhatATeacherSays) {
  TrainerSettings settings = short_run();
  settings.steps = 40;
  TrainingRun pupil(settings);  // for its model, its machine and its text
  NetworkWeights teacher_weights(pupil.model, pupil.machine.pool);
  Tape teacher(pupil.model.parts().network(), teacher_weights, {}, pupil.machine);
  const auto trainer_with = [&](const TrainerSettings& chosen) {
    return Trainer(pupil.model.parts().network(), pupil.weights, {pupil.training, pupil.held_out}, chosen,
                   pupil.machine, {.teacher = &teacher});
  };
  EXPECT_EQ(trainer_with(settings).validation_loss(), 0);  // it is the teacher
  for (NetworkWeight& weight : pupil.weights.all())
    for (std::size_t i = 0; i < weight.values.values.size(); i += 3) weight.values.values[i] *= 1.3F;
  Trainer trainer = trainer_with(settings);
  const double before = trainer.validation_loss();
  while (!trainer.is_done()) trainer.step();
  EXPECT_LT(trainer.validation_loss(), before / 4);
  settings.teacher_share = 0.5;
  settings.temperature = 2;
  const double mixed = trainer_with(settings).validation_loss(), alone = pupil.trainer.validation_loss();
  settings.teacher_share = 1;
  EXPECT_NEAR(mixed, 0.5 * trainer_with(settings).validation_loss() + 0.5 * alone, 1e-5);
  settings.teacher_share = 1.5;
  EXPECT_NE(error_of([&] { trainer_with(settings); }).second.find("between 0 and 1"), std::string::npos);
}

std::map<std::string, FormatPtr> matrices_of(const NetworkWeights& weights, const char* format) {
  std::map<std::string, FormatPtr> formats;
  for (const NetworkWeight& weight : weights.all())
    if (weight.layer != Network::kBegin && weight.role == TensorRole::linear)
      formats.emplace(weight.name, find_format(format));
  return formats;
}

TEST(Trainer, WeightsAreRoundedWhileTheyAreTrained) {
  const ScratchDirectory scratch;
  for (const char* const format : {"int2:g16:half", "ternary:row", "binary:row"}) {
    TrainerSettings settings = short_run();
    settings.steps = 30;
    settings.validate_every = 10;
    settings.patience = 5;
    const auto run = [&](std::size_t threads, std::uint64_t stop, bool goes_on) {
      TrainingRun learner(settings, threads);
      RoundedWeights rounded(learner.weights, matrices_of(learner.weights, format), nullptr, learner.machine.pool);
      Trainer trainer(learner.model.parts().network(), learner.weights, {learner.training, learner.held_out}, settings,
                      learner.machine, {.rounded = &rounded});
      if (goes_on) trainer.take_up(scratch / "state", {});
      const double before = trainer.validation_loss();
      while (!trainer.is_done() && trainer.steps_done() < stop) trainer.step();
      if (stop < settings.steps) {
        trainer.save(scratch / "state", {});
        return learner.values();
      }
      trainer.keep_best();
      if (!goes_on) {
        EXPECT_LT(trainer.validation_loss(), before / 2) << format;
      }
      for (std::size_t i = 0; i < rounded.size(); ++i) rounded.store(i, learner.machine.pool);
      return learner.values();
    };
    const auto whole = run(1, 30, false);
    run(3, 13, false);
    EXPECT_TRUE(run(2, 30, true) == whole) << format;
  }
}

TEST(Trainer, AnotherRoundingIsAnotherRun) {
  const ScratchDirectory scratch;
  TrainingRun learner(short_run());
  const auto with = [&](const char* format, const Estimator* estimator, bool saves) {
    RoundedWeights rounded(learner.weights, matrices_of(learner.weights, format), estimator, learner.machine.pool);
    Trainer trainer(learner.model.parts().network(), learner.weights, {learner.training, learner.held_out}, short_run(),
                    learner.machine, {.rounded = &rounded});
    if (!saves) return error_of([&] { trainer.take_up(scratch / "state", {}); }).second;
    trainer.save(scratch / "state", {});
    return std::string();
  };
  with("ternary:row", nullptr, true);
  EXPECT_NE(with("ternary:row", &absmean_estimator(), false).find("ternary:row by seq there, ternary:row by absmean"),
            std::string::npos);
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
  EXPECT_NE(astray.find(
                "in step 2: the gradient's length is not finite, and what holds such a number first is the gradient by "
                "model."),
            std::string::npos)
      << astray;
  EXPECT_NE(astray.find("lower the rate"), std::string::npos) << astray;
  TrainingRun broken(short_run());
  broken.weights.find(1, "down")->values.values[3] = INFINITY;
  const std::string told = error_of([&] { broken.trainer.step(); }).second;
  EXPECT_NE(told.find("step 1: the loss is not finite, and what holds such a number first is the output of layer 1"),
            std::string::npos)
      << told;
  // No rate is to blame for a model that came broken.
  settings = short_run();
  settings.begins_trained = true;
  TrainingRun came_broken(settings);
  came_broken.weights.find(1, "down")->values.values[3] = 3e38F;
  const std::string to_mend = error_of([&] { came_broken.trainer.step(); }).second;
  EXPECT_NE(to_mend.find("repair the model"), std::string::npos) << to_mend;
  EXPECT_EQ(to_mend.find("lower the rate"), std::string::npos) << to_mend;
}

}  // namespace
}  // namespace nibble
