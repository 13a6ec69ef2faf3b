// SPDX-License-Identifier: Apache-2.0
//
// Reading the files that tasks come in: JSON lines, a JSON list, or CSV. Every complaint names file and line. Internal
// to tasks/.
//
//   for (const TaskRecord& record : json_records(file)) use(record.text("question"));
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "evaluate/tasks/task.h"

namespace nibble {

// One entry of a JSON file.
class TaskRecord {
 public:
  TaskRecord(const std::string& file, std::size_t line, nlohmann::ordered_json value)
      : file_(&file), line_(line), value_(std::move(value)) {}

  std::size_t line() const { return line_; }
  bool has(std::string_view key) const { return value_.is_object() && value_.contains(key); }
  const nlohmann::ordered_json& operator[](std::string_view key) const;  // Error when it is missing
  std::string text(std::string_view key) const;                          // a string
  std::vector<std::string> texts(std::string_view key) const;            // a list of strings, not empty
  // A number, or a number written as text. Error when it is not below `count`.
  std::size_t index(std::string_view key, std::size_t count) const;

  // Error(corrupt): "FILE, line N: what".
  [[noreturn]] void refuse(const std::string& what) const;

 private:
  const std::string* file_;
  std::size_t line_;
  nlohmann::ordered_json value_;
};

// Every reader below throws Error(corrupt), with the line: what cannot be read; a file without a single entry; bytes
// that are no UTF-8. A compressed file is told apart. A byte order mark is skipped.

// Of JSON lines, or of one JSON list. Blank lines are skipped.
std::vector<TaskRecord> json_records(const TaskFile& file);
// True when the file is JSON of either kind.
bool is_json(const TaskFile& file);
// Without empty ones at the end.
std::vector<std::string> text_lines(const TaskFile& file);

struct CsvRow {
  std::size_t line = 0;
  std::vector<std::string> cells;
};
// RFC 4180: commas, quotes doubled inside quotes, line ends inside quotes.
std::vector<CsvRow> csv_rows(const TaskFile& file);

std::vector<std::string> lines_of(std::string_view text);  // without their ends
[[noreturn]] void refuse_line(const TaskFile& file, std::size_t line, const std::string& what);

// " " before the choice, and its length in characters.
Option make_option(std::string context, const std::string& choice);
// Options that share a context. Error through `record` when a choice is empty or there are fewer than two.
std::vector<Option> make_options(const TaskRecord& record, const std::string& context,
                                 const std::vector<std::string>& choices);

// Choices with labels, as ARC and OpenBookQA have them: {"text": [...], "label": [...]} or [{"text": ..., "label":
// ...}, ...].
struct LabelledChoices {
  std::vector<std::string> texts, labels;
};
LabelledChoices labelled_choices(const TaskRecord& record, const nlohmann::ordered_json& choices);
// Where `label` stands. Error when nowhere.
std::size_t find_label(const TaskRecord& record, const LabelledChoices& choices, std::string label);

// White space is what Python's str.strip() takes for it; text must be UTF-8.
std::string trimmed_text(std::string_view text);  // without white space at both ends
std::size_t trimmed_size(std::string_view text);  // without white space at its end
std::size_t character_count(std::string_view text);
std::string replaced(std::string text, std::string_view from, std::string_view to);

// What lies between two marks, trimmed. Error through `record` when either is missing.
std::string between(const TaskRecord& record, const std::string& text, std::string_view after, std::string_view before);

}  // namespace nibble
