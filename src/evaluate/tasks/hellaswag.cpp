// SPDX-License-Identifier: Apache-2.0
//
// HellaSwag (Zellers et al. 2019): which ending follows? Reads the published JSON lines, or the text of llama.cpp's
// examples: six lines a question (context, number of the right ending, four endings), prepared by the same rules.
#include <fmt/format.h>
#include <utf8proc.h>

#include "base/utf8.h"
#include "evaluate/tasks/all.h"
#include "evaluate/tasks/task_file.h"

namespace nibble {
namespace {

// The harness's cleaning: "[title]" ends a sentence, other "[...]" go, doubled spaces become one.
std::string prepared(const std::string& raw) {
  const std::string text = replaced(trimmed_text(raw), " [title]", ". ");
  std::string kept;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t open = text.find('[', at), close = open == std::string::npos ? open : text.find(']', open);
    // A bracket does not reach past its line.
    if (close == std::string::npos || text.substr(open, close - open).find('\n') != std::string::npos) {
      const std::size_t end = close == std::string::npos ? text.size() : open + 1;
      kept += text.substr(at, end - at);
      at = end;
      continue;
    }
    kept += text.substr(at, open - at);
    at = close + 1;
  }
  // One pass, as the harness does: four spaces become two.
  std::string single;
  for (std::size_t i = 0; i < kept.size(); ++i) {
    single += kept[i];
    if (kept[i] == ' ' && i + 1 < kept.size() && kept[i + 1] == ' ') ++i;
  }
  return single;
}

// Python's capitalize(): the first letter large, the others small.
std::string capitalised(std::string_view text) {
  std::string result;
  for (std::size_t at = 0; at < text.size();) {
    const bool first = at == 0;
    const auto letter = static_cast<utf8proc_int32_t>(next_code_point(text, at));
    append_utf8(result, static_cast<char32_t>(first ? utf8proc_totitle(letter) : utf8proc_tolower(letter)));
  }
  return result;
}

std::vector<Question> read_six_lines(const TaskFile& file) {
  const std::vector<std::string> lines = text_lines(file);
  std::vector<Question> questions;
  for (std::size_t i = 0; i < lines.size(); i += 6) {
    if (lines.size() - i < 6)
      refuse_line(file, i + 1, "a question has six lines: context, number of the right ending, four endings");
    Question question{.line = i + 1};
    if (lines[i + 1].size() != 1 || lines[i + 1][0] < '0' || lines[i + 1][0] > '3')
      refuse_line(file, i + 2, fmt::format("the number of the right ending must be 0 to 3: '{}'", lines[i + 1]));
    question.answer = static_cast<std::size_t>(lines[i + 1][0] - '0');
    for (std::size_t e = 0; e < 4; ++e) {
      if (trimmed_text(lines[i + 2 + e]).empty())
        refuse_line(file, i + 3 + e, fmt::format("choice {} is empty", e + 1));
      question.options.push_back(make_option(lines[i], lines[i + 2 + e]));
    }
    questions.push_back(std::move(question));
  }
  return questions;
}

std::vector<Question> read(const TaskFile& file) {
  if (!is_json(file)) return read_six_lines(file);
  std::vector<Question> questions;
  for (const TaskRecord& record : json_records(file)) {
    const std::string context =
        record.text("activity_label") + ": " + record.text("ctx_a") + " " + capitalised(record.text("ctx_b"));
    std::vector<std::string> endings = record.texts("endings");
    for (std::string& ending : endings) ending = prepared(ending);
    Question question{.line = record.line()};
    question.answer = record.index("label", endings.size());
    question.options = make_options(record, prepared(context), endings);
    questions.push_back(std::move(question));
  }
  return questions;
}

}  // namespace

const Task kHellaswag{
    .name = "hellaswag", .description = "which of four endings follows", .normalised = true, .read = read};

}  // namespace nibble
