// SPDX-License-Identifier: Apache-2.0
//
// ARC (Clark et al. 2018), easy and challenge: school science. Reads the Hub's JSON lines ("question", "choices":
// {"text", "label"}, "answerKey"), the original release ("question": {"stem", "choices"}), and the instruction lists of
// LLM-Adapters.
#include <fmt/format.h>

#include "evaluate/tasks/all.h"
#include "evaluate/tasks/task_file.h"

namespace nibble {
namespace {

Question make_question(const TaskRecord& record, const std::string& stem, const std::vector<std::string>& choices,
                       std::size_t answer) {
  Question question{.line = record.line()};
  question.answer = answer;
  question.options = make_options(record, "Question: " + stem + "\nAnswer:", choices);
  return question;
}

// "... question: STEM\n\nAnswer1: A Answer2: B ...\n\nAnswer format: ..."
Question read_instruction(const TaskRecord& record) {
  const std::string text = record.text("instruction");
  const std::string stem = between(record, text, "question:", "\n\nAnswer1:");
  std::vector<std::string> choices;
  for (std::size_t number = 1;; ++number) {
    const std::string mark = fmt::format("Answer{}:", number), next = fmt::format(" Answer{}:", number + 1);
    const bool last = text.find(next) == std::string::npos;
    choices.push_back(between(record, text, mark, last ? "\n\nAnswer format" : next));
    if (last) break;
  }
  const std::string answer = record.text("answer");
  for (std::size_t i = 0; i < choices.size(); ++i)
    if (answer == fmt::format("answer{}", i + 1)) return make_question(record, stem, choices, i);
  record.refuse(fmt::format("no choice is called '{}'", answer));
}

std::vector<Question> read(const TaskFile& file) {
  std::vector<Question> questions;
  for (const TaskRecord& record : json_records(file)) {
    if (record.has("instruction")) {
      questions.push_back(read_instruction(record));
      continue;
    }
    const auto& question = record["question"];
    const bool nested = question.is_object();
    if (nested && (!question.contains("stem") || !question["stem"].is_string() || !question.contains("choices")))
      record.refuse("\"question\" needs \"stem\" and \"choices\"");
    const LabelledChoices choices = labelled_choices(record, nested ? question["choices"] : record["choices"]);
    questions.push_back(make_question(record, nested ? question["stem"].get<std::string>() : record.text("question"),
                                      choices.texts, find_label(record, choices, record.text("answerKey"))));
  }
  return questions;
}

}  // namespace

const Task kArc{.name = "arc", .description = "school science, easy or challenge", .normalised = true, .read = read};

}  // namespace nibble
