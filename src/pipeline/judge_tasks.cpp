// SPDX-License-Identifier: Apache-2.0
#include "pipeline/judge_tasks.h"

#include "evaluate/tasks/all.h"
#include "nibble/error.h"

namespace nibble {

std::vector<std::string> list_task_names() {
  std::vector<std::string> names;
  for (const Task* task : kTasks) names.emplace_back(task->name);
  return names;
}

TaskVerdict judge_tasks(const std::vector<NamedCheckpoint>& models, const JudgeTaskOptions& options, ThreadPool& pool) {
  const Task& task = find_task(options.task);
  ShotOptions shots{.questions = {}, .count = options.num_shots};
  for (const TaskFile& file : options.shots)
    for (Question& question : task.read(file)) shots.questions.push_back(std::move(question));
  std::vector<QuestionFile> files = read_questions(task, options.files, shots);
  for (QuestionFile& file : files)
    if (options.limit > 0 && file.questions.size() > options.limit) file.questions.resize(options.limit);

  const DecoderOptions decoder_options{.kernels = options.engine.kernels, .kv = options.engine.kv, .progress = options.engine.progress};
  std::vector<Tokenizer> tokenizers;
  std::vector<Decoder> decoders;
  std::vector<std::string> names;
  for (const NamedCheckpoint& model : models) {
    tokenizers.push_back(Tokenizer::from_checkpoint(*model.checkpoint));
    decoders.emplace_back(*model.checkpoint, decoder_options, pool);
    names.push_back(model.name);
  }
  std::vector<Answerer> answerers;
  for (std::size_t i = 0; i < models.size(); ++i) answerers.emplace_back(decoders[i], tokenizers[i], task, options.answers);
  TaskRun run(task, std::move(files), models.size());
  try {
    run.ask(answerers, options.engine.progress);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::cancelled || !options.engine.keep_partial || run.asked() == 0) throw;
  }
  return judge_task(run, names, options.paired, pool);
}

}  // namespace nibble
