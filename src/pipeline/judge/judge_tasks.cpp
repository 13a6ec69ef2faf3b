// SPDX-License-Identifier: Apache-2.0
#include "pipeline/judge/judge_tasks.h"

#include "evaluate/tasks/all.h"
#include "nibble/error.h"

namespace nibble {

std::vector<std::string> list_task_names() {
  std::vector<std::string> names;
  for (const Task* task : kTasks) names.emplace_back(task->name);
  return names;
}

TaskVerdict judge_tasks(const std::vector<NamedCheckpoint>& models, const JudgeTaskOptions& options, Machine& machine) {
  const Task& task = find_task(options.task);
  ShotOptions shots{.questions = {}, .count = options.num_shots};
  for (const TaskFile& file : options.shots)
    for (Question& question : task.read(file)) shots.questions.push_back(std::move(question));
  std::vector<QuestionFile> files = read_questions(task, options.files, shots);
  for (QuestionFile& file : files)
    if (options.limit > 0 && file.questions.size() > options.limit) file.questions.resize(options.limit);

  const DecoderOptions decoder_options{
      .kernels = options.engine.kernels, .kv = options.engine.kv, .progress = options.engine.progress};
  TaskRun run(task, std::move(files), models.size());
  std::vector<std::string> names;
  try {
    // Answers are kept, so that each model is asked once, in groups that fit into memory together.
    for (std::size_t first = 0; first < models.size();) {
      const std::size_t count = count_that_fit(models, first, options.engine.memory_bytes), judged = names.size();
      std::vector<Decoder> decoders;
      for (std::size_t i = first; i < first + count; ++i)
        decoders.emplace_back(*models[i].checkpoint, decoder_options, machine);
      std::vector<Answerer> answerers;
      for (std::size_t i = 0; i < count; ++i) {
        answerers.emplace_back(decoders[i], models[first + i].checkpoint->tokenizer(), task, options.answers);
        names.push_back(models[first + i].name);
      }
      try {
        run.ask(answerers, first, options.engine.progress);
      } catch (const Error& error) {
        // Of this group not one answer: what is known is about the groups before.
        if (error.kind() == ErrorKind::cancelled && judged > 0 && run.answered(names.size()) == 0) names.resize(judged);
        throw;
      }
      first += count;
    }
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::cancelled || !options.engine.keep_partial || names.empty() ||
        run.answered(names.size()) == 0)
      throw;
  }
  TaskVerdict verdict = judge_task(run, names, options.paired, machine.pool);
  for (std::size_t i = names.size(); i < models.size(); ++i) verdict.left_out.push_back(models[i].name);
  return verdict;
}

}  // namespace nibble
