// SPDX-License-Identifier: Apache-2.0
//
// What models score on a task, and what a candidate answers differently from its original.
//
//   TaskRun run(task, read_questions(task, files, {}), 2);
//   run.ask(answerers, 0, progress);            // may be stopped: what was answered until then is kept
//   TaskVerdict verdict = judge_task(run, {"original", "q4"}, true, pool);
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "evaluate/intervals.h"
#include "evaluate/tasks/answering.h"
#include "nibble/progress.h"
#include "nibble/tasks.h"

namespace nibble {

struct QuestionFile {
  std::string name;
  std::vector<Question> questions;
};

// The files' questions, read, with solved examples (shots) and the task's preamble put before them. Errors name file
// and line: corrupt (what is read); unusable_input (too few shots).
struct ShotOptions {
  std::vector<Question> questions{};  // solved ones, in order
  std::size_t count = 0;              // how many of them stand before each question
};
std::vector<QuestionFile> read_questions(const Task& task, const std::vector<TaskFile>& files,
                                         const ShotOptions& shots);

// All answers of several models to the same questions.
class TaskRun {
 public:
  TaskRun(const Task& task, std::vector<QuestionFile> files, std::size_t num_models);
  // Puts all questions to models first, first + 1, ...; every question to each of them before the next one. Errors:
  // those of Answerer (names file and line); cancelled.
  void ask(std::span<Answerer> models, std::size_t first, const ProgressCallback& progress);

  const Task& task() const { return task_; }
  const std::vector<QuestionFile>& files() const { return files_; }
  // Questions that each of the first `num_models` has answered.
  std::size_t answered(std::size_t num_models) const;
  std::size_t planned() const;
  const std::vector<std::vector<Answer>>& answers() const { return answers_; }  // [model][question]

 private:
  const Task& task_;
  std::vector<QuestionFile> files_;
  std::vector<std::vector<Answer>> answers_;
};

// names: of the models to judge, which may be fewer than the run's; the original comes first when there is one
// (`paired`). Error(unusable_input) when not one question was answered by all of them.
TaskVerdict judge_task(const TaskRun& run, const std::vector<std::string>& names, bool paired, ThreadPool& pool);

}  // namespace nibble
