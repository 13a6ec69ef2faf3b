// SPDX-License-Identifier: Apache-2.0
//
// LAMBADA (Paperno et al. 2016): the last word of a passage. Right when the model puts each of its tokens first.
#include "evaluate/tasks/all.h"
#include "evaluate/tasks/task_file.h"

namespace nibble {
namespace {

std::vector<Question> read(const TaskFile& file) {
  std::vector<Question> questions;
  for (const TaskRecord& record : json_records(file)) {
    const std::string text = record.text("text");
    const std::size_t space = text.rfind(' ');
    if (space == std::string::npos || space + 1 == text.size())
      record.refuse("the text must end in a word after a space");
    Question question{.line = record.line()};
    question.reference = text.substr(space + 1);
    question.options.push_back(make_option(text.substr(0, space), question.reference));
    questions.push_back(std::move(question));
  }
  return questions;
}

}  // namespace

const Task kLambada{
    .name = "lambada", .description = "the last word of a passage", .kind = TaskKind::last_word, .read = read};

}  // namespace nibble
