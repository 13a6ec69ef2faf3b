// SPDX-License-Identifier: Apache-2.0
//
// PIQA (Bisk et al. 2020): which of two solutions reaches a goal? The published release keeps labels in a file of their
// own.
#include <fmt/format.h>

#include "evaluate/tasks/all.h"
#include "evaluate/tasks/task_file.h"

namespace nibble {
namespace {

std::vector<Question> read(const TaskFile& file) {
  const std::vector<std::string> labels = lines_of(file.labels);
  std::vector<Question> questions;
  const std::vector<TaskRecord> records = json_records(file);
  if (!labels.empty() && labels.size() != records.size())
    refuse_line(file, records.back().line(), fmt::format("{} questions have {} labels", records.size(), labels.size()));
  for (std::size_t i = 0; i < records.size(); ++i) {
    const TaskRecord& record = records[i];
    Question question{.line = record.line()};
    if (labels.empty()) {
      if (!record.has("label")) record.refuse("\"label\" is missing, and there is no file of labels beside this one");
      question.answer = record.index("label", 2);
    } else {
      if (labels[i] != "0" && labels[i] != "1") record.refuse(fmt::format("its label must be 0 or 1: '{}'", labels[i]));
      question.answer = labels[i] == "1" ? 1 : 0;
    }
    question.options = make_options(
        record, "Question: " + record.text("goal") + "\nAnswer:", {record.text("sol1"), record.text("sol2")});
    questions.push_back(std::move(question));
  }
  return questions;
}

}  // namespace

const Task kPiqa{.name = "piqa",
                 .description = "which of two solutions reaches a goal",
                 .normalised = true,
                 .labels_suffix = "-labels.lst",
                 .read = read};

}  // namespace nibble
