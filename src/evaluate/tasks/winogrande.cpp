// SPDX-License-Identifier: Apache-2.0
//
// WinoGrande (Sakaguchi et al. 2020): which name fills the blank? Scored as the harness does: the text after the blank
// is the continuation, the text before it with either name is the context. Reads the published JSON lines and the
// instruction lists of LLM-Adapters.
#include <fmt/format.h>

#include "evaluate/tasks/all.h"
#include "evaluate/tasks/task_file.h"

namespace nibble {
namespace {

Question make_question(const TaskRecord& record, const std::string& sentence, const std::vector<std::string>& names,
                       const std::string& answer) {
  const std::size_t blank = sentence.find('_');
  if (blank == std::string::npos) record.refuse("the sentence has no blank '_'");
  if (answer != "1" && answer != "2") record.refuse(fmt::format("the answer must be 1 or 2: '{}'", answer));
  const std::string rest = trimmed_text(std::string_view(sentence).substr(blank + 1));
  if (rest.empty()) record.refuse("nothing follows the blank, so nothing can be scored");
  Question question{.line = record.line()};
  question.answer = answer == "1" ? 0 : 1;
  for (const std::string& name : names) {
    if (name.empty()) record.refuse("an option is empty");
    question.options.push_back(make_option(sentence.substr(0, blank) + name, rest));
  }
  return question;
}

std::vector<Question> read(const TaskFile& file) {
  std::vector<Question> questions;
  for (const TaskRecord& record : json_records(file)) {
    if (record.has("instruction")) {
      const std::string text = record.text("instruction"), answer = record.text("answer");
      questions.push_back(make_question(
          record, between(record, text, "given sentence:", "\n\nOption1:"),
          {between(record, text, "Option1:", "Option2:"), between(record, text, "Option2:", "Answer format")},
          answer.starts_with("option") ? answer.substr(6) : answer));
    } else {
      questions.push_back(make_question(record, record.text("sentence"),
                                        {record.text("option1"), record.text("option2")}, record.text("answer")));
    }
  }
  return questions;
}

}  // namespace

const Task kWinogrande{.name = "winogrande", .description = "which of two names fills the blank", .read = read};

}  // namespace nibble
