// SPDX-License-Identifier: Apache-2.0
#include "evaluate/tasks/task_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/file_signature.h"
#include "base/utf8.h"
#include "evaluate/tasks/all.h"
#include "io/json_text.h"
#include "nibble/error.h"

namespace nibble {

namespace {

constexpr std::string_view kSpace = " \t\r\n\v\f";
constexpr const char* kTooFewChoices = "a question needs at least two choices";

std::size_t count_lines(std::string_view text) { return static_cast<std::size_t>(std::ranges::count(text, '\n')); }

// What str.isspace() of Python takes for white space.
bool is_white(char32_t c) {
  return c == ' ' || (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x1f) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

// JSON at `first_line` of the file. entries, where asked for: the line at which each entry of the outermost list
// begins.
nlohmann::ordered_json parse_value(const TaskFile& file, std::size_t first_line, std::string_view text,
                                   std::vector<std::size_t>* entries = nullptr) {
  // Depth is bounded by hand: the parser recurses for each level.
  std::size_t depth = 0, line = first_line;
  bool quoted = false, entry_follows = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') ++line;
    if (entry_follows && kSpace.find(c) == kSpace.npos) {
      if (entries != nullptr && c != ']') entries->push_back(line);
      entry_follows = false;
    }
    if (quoted && c == '\\') {
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (!quoted && (c == '[' || c == '{')) {
      if (++depth > 64) refuse_line(file, line, "JSON nested deeper than 64 levels");
      entry_follows = depth == 1;
    } else if (!quoted && (c == ']' || c == '}') && depth > 0) {
      --depth;
    } else if (!quoted && c == ',' && depth == 1) {
      entry_follows = true;
    }
  }
  std::string plain;
  if (const auto fault = judge_json(text, plain))
    refuse_line(file, first_line + count_lines(text.substr(0, fault->offset)),
                fault->what.starts_with("JSON") ? fault->what : "this is not JSON");
  return nlohmann::ordered_json::parse(plain);
}

// The file's text without a byte order mark. Error when it is no text at all.
std::string_view readable_text(const TaskFile& file) {
  std::string_view text = file.text;
  if (const FileSignature* const known = find_signature(text); known != nullptr && !known->as_text.empty())
    throw Error(ErrorKind::corrupt, fmt::format("{}: this is {}{}", file.name, known->what, known->as_text));
  if (const std::size_t invalid = find_invalid_utf8(text); invalid != text.npos)
    refuse_line(file, 1 + count_lines(text.substr(0, invalid)), "this is not text in UTF-8");
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  return text;
}

[[noreturn]] void refuse_empty(const TaskFile& file) {
  throw Error(ErrorKind::corrupt, file.name + ": there are no questions in it");
}

}  // namespace

const Task& find_task(std::string_view name) {
  std::string known;
  for (const Task* task : kTasks) {
    if (task->name == name) return *task;
    known += (known.empty() ? "" : ", ") + std::string(task->name);
  }
  throw Error(ErrorKind::invalid_argument, fmt::format("unknown task '{}'; known are {}", name, known));
}

void refuse_line(const TaskFile& file, std::size_t line, const std::string& what) {
  throw Error(ErrorKind::corrupt, fmt::format("{}, line {}: {}", file.name, line, what));
}

void TaskRecord::refuse(const std::string& what) const {
  throw Error(ErrorKind::corrupt, fmt::format("{}, line {}: {}", *file_, line_, what));
}

const nlohmann::ordered_json& TaskRecord::operator[](std::string_view key) const {
  if (!has(key)) refuse(fmt::format("\"{}\" is missing", key));
  return value_.at(std::string(key));
}

std::string TaskRecord::text(std::string_view key) const {
  const auto& value = (*this)[key];
  if (!value.is_string()) refuse(fmt::format("\"{}\" must be text", key));
  return value.get<std::string>();
}

std::vector<std::string> TaskRecord::texts(std::string_view key) const {
  const auto& list = (*this)[key];
  if (!list.is_array() || list.empty() || !std::ranges::all_of(list, [](const auto& item) { return item.is_string(); }))
    refuse(fmt::format("\"{}\" must be a list of texts", key));
  return list.get<std::vector<std::string>>();
}

std::size_t TaskRecord::index(std::string_view key, std::size_t count) const {
  const auto& value = (*this)[key];
  std::size_t result = count;
  if (value.is_boolean()) {
    result = value.get<bool>() ? 1 : 0;
  } else if (value.is_number_unsigned()) {
    result = value.get<std::size_t>();
  } else if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), result);
    if (failure != std::errc() || end != text.data() + text.size()) result = count;
  }
  if (result >= count) refuse(fmt::format("\"{}\" must be a number from 0 to {}: {}", key, count - 1, value.dump()));
  return result;
}

bool is_json(const TaskFile& file) {
  const std::string_view text = readable_text(file);
  const std::size_t first = text.find_first_not_of(kSpace);
  return first != text.npos && (text[first] == '{' || text[first] == '[');
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    lines.emplace_back(line);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
  return lines;
}

std::vector<std::string> text_lines(const TaskFile& file) {
  std::vector<std::string> lines = lines_of(readable_text(file));
  while (!lines.empty() && trimmed_text(lines.back()).empty()) lines.pop_back();
  if (lines.empty()) refuse_empty(file);
  return lines;
}

std::vector<TaskRecord> json_records(const TaskFile& file) {
  std::vector<TaskRecord> records;
  const auto add = [&](std::size_t line, nlohmann::ordered_json value) {
    if (!value.is_object()) refuse_line(file, line, "an object is expected here");
    records.emplace_back(file.name, line, std::move(value));
  };
  const std::string_view text = readable_text(file);
  const std::size_t first = text.find_first_not_of(kSpace);
  if (first != text.npos && text[first] == '[') {
    std::vector<std::size_t> lines;
    nlohmann::ordered_json list = parse_value(file, 1, text, &lines);
    for (std::size_t i = 0; i < list.size(); ++i) add(lines.at(i), std::move(list[i]));
  } else {
    const std::vector<std::string> lines = lines_of(text);
    for (std::size_t i = 0; i < lines.size(); ++i)
      if (lines[i].find_first_not_of(kSpace) != std::string::npos) add(i + 1, parse_value(file, i + 1, lines[i]));
  }
  if (records.empty()) refuse_empty(file);
  return records;
}

std::vector<CsvRow> csv_rows(const TaskFile& file) {
  std::vector<CsvRow> rows;
  CsvRow row{1, {}};
  std::string cell;
  bool quoted = false;
  std::size_t line = 1;
  const std::string_view text = readable_text(file);
  const auto end_cell = [&] {
    row.cells.push_back(cell);
    cell.clear();
  };
  const auto end_row = [&] {
    end_cell();
    if (row.cells.size() > 1 || !row.cells[0].empty()) rows.push_back(row);
    row = {line, {}};
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    line += c == '\n' ? 1 : 0;
    if (quoted) {
      if (c != '"')
        cell += c;
      else if (i + 1 < text.size() && text[i + 1] == '"')
        cell += text[++i];
      else
        quoted = false;
    } else if (c == '"' && cell.empty()) {
      quoted = true;
    } else if (c == ',') {
      end_cell();
    } else if (c == '\n') {
      end_row();
    } else if (c != '\r') {
      cell += c;
    }
  }
  if (quoted) refuse_line(file, row.line, "a quote is not closed");
  if (!cell.empty() || !row.cells.empty()) end_row();
  if (rows.empty()) refuse_empty(file);
  return rows;
}

std::size_t character_count(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xc0) != 0x80; }));
}

Option make_option(std::string context, const std::string& choice) {
  return {std::move(context), " " + choice, character_count(choice)};
}

std::vector<Option> make_options(const TaskRecord& record, const std::string& context,
                                 const std::vector<std::string>& choices) {
  if (choices.size() < 2) record.refuse(kTooFewChoices);
  std::vector<Option> options;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (choices[i].empty()) record.refuse(fmt::format("choice {} is empty", i + 1));
    options.push_back(make_option(context, choices[i]));
  }
  return options;
}

LabelledChoices labelled_choices(const TaskRecord& record, const nlohmann::ordered_json& choices) {
  LabelledChoices result;
  const auto take = [&](const nlohmann::ordered_json& text, const nlohmann::ordered_json& label) {
    if (!text.is_string() || !label.is_string()) record.refuse("texts and labels of \"choices\" must be text");
    result.texts.push_back(text.get<std::string>());
    result.labels.push_back(label.get<std::string>());
  };
  if (choices.is_object() && choices.contains("text") && choices.contains("label")) {
    const auto &texts = choices["text"], &labels = choices["label"];
    if (!texts.is_array() || !labels.is_array() || texts.size() != labels.size())
      record.refuse("\"choices\" needs as many texts as labels");
    for (std::size_t i = 0; i < texts.size(); ++i) take(texts[i], labels[i]);
  } else if (choices.is_array()) {
    for (const auto& choice : choices) {
      if (!choice.is_object() || !choice.contains("text") || !choice.contains("label"))
        record.refuse("every one of \"choices\" needs \"text\" and \"label\"");
      take(choice["text"], choice["label"]);
    }
  } else {
    record.refuse("\"choices\" must be lists of texts and labels");
  }
  if (result.texts.size() < 2) record.refuse(kTooFewChoices);
  return result;
}

std::size_t find_label(const TaskRecord& record, const LabelledChoices& choices, std::string label) {
  label = trimmed_text(label);
  const auto found = std::ranges::find(choices.labels, label);
  if (found == choices.labels.end()) record.refuse(fmt::format("no choice is labelled '{}'", label));
  return static_cast<std::size_t>(found - choices.labels.begin());
}

std::size_t trimmed_size(std::string_view text) {
  while (!text.empty()) {
    std::size_t last = text.size() - 1;
    while (last > 0 && (static_cast<unsigned char>(text[last]) & 0xc0) == 0x80) --last;
    std::size_t offset = last;
    if (!is_white(next_code_point(text, offset))) break;
    text = text.substr(0, last);
  }
  return text.size();
}

std::string trimmed_text(std::string_view text) {
  text = text.substr(0, trimmed_size(text));
  std::size_t first = 0;
  for (std::size_t next = 0; first < text.size() && is_white(next_code_point(text, next)); first = next) {
  }
  return std::string(text.substr(first));
}

std::string replaced(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

std::string between(const TaskRecord& record, const std::string& text, std::string_view after,
                    std::string_view before) {
  const std::size_t start = text.find(after);
  const std::size_t end = start == std::string::npos ? start : text.find(before, start + after.size());
  if (end == std::string::npos)
    record.refuse(fmt::format("the text between \"{}\" and \"{}\" is missing", after, before));
  return trimmed_text(std::string_view(text).substr(start + after.size(), end - start - after.size()));
}

}  // namespace nibble
