// SPDX-License-Identifier: Apache-2.0
#include "pipeline/judge/judge_tasks.h"
#include "kernels/chosen_isa.h"

#include <gtest/gtest.h>

#include "evaluate/special_functions.h"
#include "pipeline/models.h"
#include "pipeline/quantize/quantize_model.h"

namespace nibble {
namespace {

const std::filesystem::path kSource = NIBBLE_SOURCE_DIR;

TaskFile file_of(const std::string& name) { return {name, read_text(kSource / "tests/data/evaluate" / name)}; }

class JudgeTasks : public testing::Test {
 protected:
  void SetUp() override {
    QuantizeModelOptions options;
    options.recipe = find_recipe("int2:g32");
    options.output = scratch_ / "q";
    quantize_model(original_, options, machine_, {});
    candidate_ = SourceModel::open(options.output);
  }

  JudgeTaskOptions options_for(const std::string& task) {
    JudgeTaskOptions options{.task = task, .files = {file_of(task + ".jsonl")}, .paired = true};
    return options;
  }

  ScratchDirectory scratch_;
  Machine machine_{chosen_isa(), 2};
  SourceModel original_ = SourceModel::open(kSource / "tests/data/tale-4M"),
              candidate_ = SourceModel::open(kSource / "tests/data/tale-4M");
};

bool same(const TaskVerdict& a, const TaskVerdict& b) {
  bool equal = a.models.size() == b.models.size();
  for (std::size_t m = 0; equal && m < a.models.size(); ++m)
    for (std::size_t i = 0; i < a.models[m].measures.size(); ++i)
      equal = equal && a.models[m].measures[i].figure.value == b.models[m].measures[i].figure.value;
  return equal;
}

// What is told of a change follows from what each model answers alone.
TEST_F(JudgeTasks, ChangesAreThoseOfTheAnswers) {
  JudgeTaskOptions options = options_for("openbookqa");
  const TaskVerdict verdict = judge_tasks({{"original", &original_}, {"q", &candidate_}}, options, machine_);
  options.paired = false;
  const TaskVerdict before = judge_tasks({{"original", &original_}}, options, machine_),
                    after = judge_tasks({{"q", &candidate_}}, options, machine_);
  EXPECT_TRUE(after.models[0].changes.empty());
  std::uint64_t changed = 0, to_wrong = 0, to_right = 0;
  for (std::size_t q = 0; q < 2; ++q) {
    const Answer &a = before.answered[q].answers[0], &b = after.answered[q].answers[0];
    changed += a.chosen != b.chosen ? 1 : 0;
    to_wrong += a.right && !b.right ? 1 : 0;
    to_right += !a.right && b.right ? 1 : 0;
  }
  EXPECT_GT(changed, 0u);  // else this test has seen nothing
  const TaskChange& change = verdict.models[1].changes[0];
  EXPECT_EQ(change.name, "acc");
  EXPECT_EQ(change.changed, changed);
  EXPECT_EQ(change.to_wrong, to_wrong);
  EXPECT_EQ(change.to_right, to_right);
  EXPECT_EQ(change.mcnemar, mcnemar_p(to_wrong, to_right));
}

TEST_F(JudgeTasks, LittleMemoryChangesNothing) {
  JudgeTaskOptions options = options_for("hellaswag");
  const std::vector<NamedCheckpoint> models = {{"original", &original_}, {"q", &candidate_}, {"again", &original_}};
  const TaskVerdict roomy = judge_tasks(models, options, machine_);
  options.engine.memory_bytes = 1;
  EXPECT_TRUE(same(judge_tasks(models, options, machine_), roomy));
  EXPECT_EQ(roomy.models[2].changes[0].changed, 0u);
}

TEST_F(JudgeTasks, AStopKeepsWhatWasAnswered) {
  JudgeTaskOptions options = options_for("piqa");
  options.files.push_back(file_of("piqa_apart.jsonl"));
  options.files[1].labels = read_text(kSource / "tests/data/evaluate/piqa_apart-labels.lst");
  const std::vector<NamedCheckpoint> models = {{"original", &original_}, {"q", &candidate_}};
  // One model at a time: the second one's questions are never asked. The first report of a stage always comes.
  options.engine.memory_bytes = 1;
  options.engine.keep_partial = true;
  std::size_t begun = 0;
  options.engine.progress = [&](const Progress& progress) {
    return progress.stage != "evaluate" || progress.done > 0 || ++begun < 2;
  };
  const TaskVerdict verdict = judge_tasks(models, options, machine_);
  ASSERT_EQ(verdict.models.size(), 1u);
  EXPECT_EQ(verdict.models[0].model, "original");
  EXPECT_EQ(verdict.questions, 6u);
  EXPECT_EQ(verdict.left_out, std::vector<std::string>{"q"});
  EXPECT_TRUE(verdict.partial());
  options.engine.keep_partial = false;
  begun = 0;
  EXPECT_NE(error_of([&] { judge_tasks(models, options, machine_); }), "");
  options.engine.keep_partial = true;
  options.engine.progress = [](const Progress& progress) { return progress.stage != "evaluate"; };
  EXPECT_NE(error_of([&] { judge_tasks(models, options, machine_); }), "");  // not one answer
}

}  // namespace
}  // namespace nibble
