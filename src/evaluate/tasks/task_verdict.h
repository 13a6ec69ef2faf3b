// SPDX-License-Identifier: Apache-2.0
//
// What models score on a task, and what a candidate answers differently from its original.
//
//   TaskRun run(task, read_questions(task, files, {}), 2);
//   run.ask(answerers, progress);            // may be stopped: what was answered until then is kept
//   TaskVerdict verdict = judge_task(run, {"original", "q4"}, true, pool);
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "evaluate/intervals.h"
#include "evaluate/tasks/answering.h"
#include "nibble/progress.h"

namespace nibble {

struct QuestionFile {
  std::string name;
  std::vector<Question> questions;
};

// The files' questions, read, with solved examples (shots) and the task's preamble put before them. Error(invalid_argument) names file and line.
struct ShotOptions {
  std::vector<Question> questions{};  // solved ones, in order
  std::size_t count = 0;              // how many of them stand before each question
};
std::vector<QuestionFile> read_questions(const Task& task, const std::vector<TaskFile>& files, const ShotOptions& shots);

// All answers of several models to the same questions.
class TaskRun {
 public:
  TaskRun(const Task& task, std::vector<QuestionFile> files, std::size_t num_models);
  // Every question is put to every model before the next one. Errors: those of Answerer (names file and line); cancelled.
  void ask(std::vector<Answerer>& models, const ProgressCallback& progress);

  const Task& task() const { return task_; }
  const std::vector<QuestionFile>& files() const { return files_; }
  std::size_t asked() const { return answers_.front().size(); }
  std::size_t planned() const;
  const std::vector<std::vector<Answer>>& answers() const { return answers_; }  // [model][question]

 private:
  const Task& task_;
  std::vector<QuestionFile> files_;
  std::vector<std::vector<Answer>> answers_;
};

// One way of counting: "acc", "acc_norm", "exact_match", "flexible_match", "perplexity", "bleu".
struct TaskMeasure {
  std::string name;
  Figure figure;
};

// Of a candidate against the original, by one measure.
struct TaskChange {
  std::string name;
  Figure difference;                    // candidate - original
  std::uint64_t changed = 0;            // questions answered differently, rightly or wrongly (bleu: other text)
  std::uint64_t to_wrong = 0, to_right = 0;
  double mcnemar = 1;                   // exact p of to_wrong against to_right; 1 for measures that are no counts
};

struct TaskScores {
  std::string model;
  std::vector<TaskMeasure> measures;
  std::vector<std::vector<TaskMeasure>> files;  // of each file, when there are several
  std::vector<TaskChange> changes;              // against the first model; empty for it and for a run of one
};

struct TaskVerdict {
  std::string task;
  std::vector<std::string> files;
  std::uint64_t questions = 0, planned = 0;
  std::vector<TaskScores> models;
  bool partial() const { return questions < planned; }
};

// names: one per model, the original first when there is one (`paired`). Error(invalid_argument) when not one question was asked.
TaskVerdict judge_task(const TaskRun& run, const std::vector<std::string>& names, bool paired, ThreadPool& pool);

}  // namespace nibble
