// SPDX-License-Identifier: Apache-2.0
#include "cli/eval_task.h"

#include <filesystem>
#include <optional>
#include <span>

#include "base/output_file.h"
#include "cli/option_checks.h"
#include "nibble/error.h"
#include "pipeline/judge/judge_tasks.h"
#include "report/html_page.h"
#include "report/page_figures.h"
#include "report/task_report.h"

namespace nibble::cli {
namespace {

std::string names_of(const std::vector<std::string>& list) {
  std::string names;
  for (const std::string& name : list) names += (names.empty() ? "" : ", ") + name;
  return names;
}

// Where a task keeps the answers to a file's questions; empty: in the file itself.
std::string labels_of(const Task& task, const std::string& path) {
  if (task.labels_suffix.empty()) return {};
  const std::string labels = std::filesystem::path(path).replace_extension().string() + std::string(task.labels_suffix);
  std::error_code ignored;
  return std::filesystem::is_regular_file(labels, ignored) ? labels : std::string();
}

std::vector<TaskFile> read_task_files(const Task& task, std::span<const std::string> paths) {
  std::vector<TaskFile> files;
  for (const std::string& path : paths) {
    TaskFile& file = files.emplace_back(TaskFile{path, read_text(path)});
    if (const std::string labels = labels_of(task, path); !labels.empty()) file.labels = read_text(labels);
  }
  return files;
}

JudgeTaskOptions request_of(const TaskModels& models, const TaskArguments& arguments, Session& session) {
  JudgeTaskOptions request;
  request.task = arguments.name_and_files.front();
  const Task& task = find_task(request.task);
  request.files = read_task_files(task, std::span(arguments.name_and_files).subspan(1));
  request.shots = read_task_files(task, arguments.shots);
  request.num_shots = arguments.num_shots;
  request.limit = arguments.limit;
  request.paired = !models.against.empty();
  request.answers.max_tokens = arguments.max_tokens;
  request.engine.kernels = session.kernels();
  request.engine.kv = session.kv();
  request.engine.progress = session.progress();
  request.engine.keep_partial = true;
  return request;
}

}  // namespace

void add_task_options(CLI::App& verb, TaskArguments& arguments) {
  verb.add_option(
          "--task", arguments.name_and_files,
          "A task and its files instead of a text: --task hellaswag FILE...; tasks: " + names_of(list_task_names()))
      ->expected(2, CLI::detail::expected_max_vector_size);
  verb.add_option("--shots", arguments.shots, "With --task: files of solved examples in the task's own format");
  verb.add_option("--num-shots", arguments.num_shots, "With --task: how many of them stand before each question")
      ->check(count_within(0, 1000))
      ->capture_default_str();
  verb.add_option("--limit", arguments.limit, "With --task: only the first N questions of each file")
      ->check(count_within(0, kMostWindows));
  verb.add_option("--answers", arguments.answers,
                  "With --task: also write what each model answered to each question, as JSON lines");
  verb.add_option("--max-tokens", arguments.max_tokens, "With --task: how many tokens a generated answer may have")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
}

void add_task_places(const TaskArguments& arguments, Places& places) {
  places.writes_file("--answers", arguments.answers);
  if (arguments.name_and_files.empty()) return;
  const Task& task = find_task(arguments.name_and_files.front());
  std::vector<std::string> files(arguments.name_and_files.begin() + 1, arguments.name_and_files.end());
  files.insert(files.end(), arguments.shots.begin(), arguments.shots.end());
  for (const std::string& file : files) {
    places.reads("a file of questions", file);
    places.reads("the labels of a file of questions", labels_of(task, file));
  }
}

void evaluate_task(const TaskModels& models, const TaskArguments& arguments, Session& session) {
  const JudgeTaskOptions request = request_of(models, arguments, session);
  std::vector<std::string> names = models.models;
  if (request.paired) names.insert(names.begin(), models.against);
  std::vector<SourceModel> checkpoints;
  for (const std::string& name : names) {
    checkpoints.push_back(SourceModel::open(name));
    session.note_reading(checkpoints.back());
  }
  std::vector<NamedCheckpoint> named;
  for (std::size_t i = 0; i < names.size(); ++i) named.push_back({names[i], &checkpoints[i]});
  std::optional<OutputFile> page, answers;  // a place that cannot be written to shows before the work
  if (!models.html.empty()) page.emplace(models.html);
  if (!arguments.answers.empty()) answers.emplace(arguments.answers);
  const TaskVerdict verdict = judge_tasks(named, request, session.machine());
  if (page) {
    page->write(html_page(page_figures(verdict, {models.against, session.settings()})));
    page->commit();
  }
  if (answers) {
    answers->write(answers_jsonl(verdict));
    answers->commit();
  }
  if (session.json())
    session.print_json(to_json(verdict));
  else
    session.print(task_text(verdict, {models.markdown, session.style(), models.against}));
  if (verdict.partial())
    throw Error(ErrorKind::cancelled, "stopped early; the figures cover what was answered until then");
}

}  // namespace nibble::cli
