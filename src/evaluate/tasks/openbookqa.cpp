// SPDX-License-Identifier: Apache-2.0
//
// OpenBookQA (Mihaylov et al. 2018). Reads the Hub's JSON lines ("question_stem", "choices", "answerKey") and the
// original release
// ("question": {"stem", "choices"}).
#include "evaluate/tasks/all.h"
#include "evaluate/tasks/task_file.h"

namespace nibble {
namespace {

std::vector<Question> read(const TaskFile& file) {
  std::vector<Question> questions;
  for (const TaskRecord& record : json_records(file)) {
    const bool nested = !record.has("question_stem");
    if (nested && (!record["question"].is_object() || !record["question"].contains("stem") ||
                   !record["question"]["stem"].is_string() || !record["question"].contains("choices")))
      record.refuse("\"question_stem\" is missing");
    const LabelledChoices choices =
        labelled_choices(record, nested ? record["question"]["choices"] : record["choices"]);
    Question question{.line = record.line()};
    question.answer = find_label(record, choices, record.text("answerKey"));
    question.options = make_options(
        record, nested ? record["question"]["stem"].get<std::string>() : record.text("question_stem"), choices.texts);
    questions.push_back(std::move(question));
  }
  return questions;
}

}  // namespace

const Task kOpenbookqa{
    .name = "openbookqa", .description = "science with common knowledge", .normalised = true, .read = read};

}  // namespace nibble
