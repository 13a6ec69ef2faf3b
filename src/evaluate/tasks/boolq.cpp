// SPDX-License-Identifier: Apache-2.0
//
// BoolQ (Clark et al. 2019): yes or no about a passage. "label" 0 or 1 as SuperGLUE has it, or "answer" true or false.
#include "evaluate/tasks/all.h"
#include "evaluate/tasks/task_file.h"

namespace nibble {
namespace {

std::vector<Question> read(const TaskFile& file) {
  std::vector<Question> questions;
  for (const TaskRecord& record : json_records(file)) {
    Question question{.line = record.line()};
    question.answer = record.index(record.has("label") ? "label" : "answer", 2);
    question.options = make_options(
        record, record.text("passage") + "\nQuestion: " + record.text("question") + "?\nAnswer:", {"no", "yes"});
    questions.push_back(std::move(question));
  }
  return questions;
}

}  // namespace

const Task kBoolq{.name = "boolq", .description = "yes or no about a passage", .read = read};

}  // namespace nibble
