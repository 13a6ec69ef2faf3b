// SPDX-License-Identifier: Apache-2.0
//
// MMLU (Hendrycks et al. 2021): four choices, answered by letter. Reads the published CSV (question, four choices,
// letter; with a header line the answer may be a number) and the Hub's JSON lines. The subject is the file's name:
// "abstract_algebra_test.csv".
#include <fmt/format.h>

#include <array>

#include "evaluate/tasks/all.h"
#include "evaluate/tasks/task_file.h"

namespace nibble {
namespace {

constexpr std::array<std::string_view, 4> kLetters = {"A", "B", "C", "D"};

Question make_question(std::size_t line, const std::string& stem, std::span<const std::string> choices,
                       std::size_t answer) {
  std::string context = trimmed_text(stem);
  for (std::size_t i = 0; i < 4; ++i) context += fmt::format("\n{}. {}", kLetters[i], choices[i]);
  context += "\nAnswer:";
  Question question{.line = line};
  question.answer = answer;
  for (const std::string_view letter : kLetters) question.options.push_back(make_option(context, std::string(letter)));
  return question;
}

std::vector<Question> read_csv(const TaskFile& file) {
  std::vector<Question> questions;
  std::vector<CsvRow> rows = csv_rows(file);
  if (rows.front().cells.front() == "question" && rows.front().cells.back() == "answer") rows.erase(rows.begin());
  for (const CsvRow& row : rows) {
    if (row.cells.size() != 6)
      refuse_line(file, row.line,
                  fmt::format("six cells are needed, question, four choices and answer: {}", row.cells.size()));
    for (std::size_t i = 1; i < 5; ++i)
      if (row.cells[i].empty()) refuse_line(file, row.line, fmt::format("choice {} is empty", i));
    const std::string& answer = row.cells[5];
    std::size_t index = 4;
    if (answer.size() == 1)
      index = answer[0] >= 'A' && answer[0] <= 'D' ? static_cast<std::size_t>(answer[0] - 'A')
                                                   : static_cast<std::size_t>(answer[0] - '0');
    if (index > 3) refuse_line(file, row.line, fmt::format("the answer must be A to D, or 0 to 3: '{}'", answer));
    questions.push_back(make_question(row.line, row.cells[0], std::span(row.cells).subspan(1, 4), index));
  }
  return questions;
}

std::vector<Question> read(const TaskFile& file) {
  if (!is_json(file)) return read_csv(file);
  std::vector<Question> questions;
  for (const TaskRecord& record : json_records(file)) {
    const std::vector<std::string> choices = record.texts("choices");
    if (choices.size() != 4) record.refuse(fmt::format("four choices are needed: {}", choices.size()));
    for (const std::string& choice : choices)
      if (choice.empty()) record.refuse("a choice is empty");
    questions.push_back(make_question(record.line(), record.text("question"), choices, record.index("answer", 4)));
  }
  return questions;
}

}  // namespace

const Task kMmlu{.name = "mmlu",
                 .description = "exam questions, answered by letter",
                 .preamble = "The following are multiple choice questions (with answers) about {subject}.\n\n",
                 .read = read};

}  // namespace nibble
