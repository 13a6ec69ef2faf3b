// SPDX-License-Identifier: Apache-2.0
//
// Models put to a task, and what candidates answer differently from their original.
//
//   TaskVerdict verdict = judge_tasks({{"model", &original}, {"q4", &candidate}}, {.task = "piqa", .files = files,
//   .paired = true}, machine);
#pragma once

#include <string>
#include <vector>

#include "evaluate/tasks/task_verdict.h"
#include "kernels/machine.h"
#include "pipeline/judge/judge_models.h"

namespace nibble {

struct JudgeTaskOptions {
  std::string task;  // one of list_task_names()
  std::vector<TaskFile> files{};
  std::vector<TaskFile> shots{};  // solved examples, shown before each question
  std::size_t num_shots = 0;      // how many of them
  std::size_t limit = 0;          // questions of each file; 0: all
  bool paired = false;            // the first model is the original of the others
  AnswerOptions answers{};
  JudgeOptions engine{};  // windows are not looked at
};

// Errors: invalid_argument (unknown task), unusable_input (too few shots), corrupt (a malformed file: names file and
// line), not_found (no tokenizer), unsupported, cancelled (unless engine.keep_partial and at least one question was
// answered).
TaskVerdict judge_tasks(const std::vector<NamedCheckpoint>& models, const JudgeTaskOptions& options, Machine& machine);

std::vector<std::string> list_task_names();

}  // namespace nibble
