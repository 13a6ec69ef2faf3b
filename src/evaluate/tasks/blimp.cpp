// SPDX-License-Identifier: Apache-2.0
//
// BLiMP (Warstadt et al. 2020): of two sentences that differ a little, is the grammatical one more probable?
#include "evaluate/tasks/all.h"
#include "evaluate/tasks/task_file.h"

namespace nibble {
namespace {

std::vector<Question> read(const TaskFile& file) {
  std::vector<Question> questions;
  for (const TaskRecord& record : json_records(file)) {
    Question question{.line = record.line()};
    question.options = make_options(record, "", {record.text("sentence_good"), record.text("sentence_bad")});
    questions.push_back(std::move(question));
  }
  return questions;
}

}  // namespace

const Task kBlimp{.name = "blimp", .description = "which of two sentences is grammatical", .read = read};

}  // namespace nibble
