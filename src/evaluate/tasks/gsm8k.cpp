// SPDX-License-Identifier: Apache-2.0
//
// GSM8K (Cobbe et al. 2021): school arithmetic in words; the answer is what follows "####". Shown solved examples
// (shots), models learn to write it so.
#include "evaluate/tasks/all.h"
#include "evaluate/tasks/numbers.h"
#include "evaluate/tasks/task_file.h"

namespace nibble {
namespace {

constexpr std::string_view kStop[] = {"Question:", "</s>", "<|im_end|>"};

std::vector<Question> read(const TaskFile& file) {
  std::vector<Question> questions;
  for (const TaskRecord& record : json_records(file)) {
    Question question{.line = record.line()};
    question.prompt = "Question: " + record.text("question") + "\nAnswer:";
    question.reference = record.text("answer");
    if (wanted_number(question.reference).empty()) record.refuse("\"answer\" must end in \"#### \" and the number");
    questions.push_back(std::move(question));
  }
  return questions;
}

}  // namespace

const Task kGsm8k{.name = "gsm8k",
                  .description = "school arithmetic, by generation",
                  .kind = TaskKind::exact_match,
                  .stop = kStop,
                  .read = read};

}  // namespace nibble
