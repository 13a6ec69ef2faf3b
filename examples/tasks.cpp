// SPDX-License-Identifier: Apache-2.0
//
// nibble/tasks.h: what a model and its quantized self answer to the questions of a task, and which answers changed.
//
//   tasks ORIGINAL CANDIDATE
#include <nibble/tasks.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  for (const nibble::TaskDescription& task : nibble::list_task_descriptions())
    std::cout << task.name << ": " << task.description << '\n';

  // A task's file as its authors publish it, here two questions of our own: which ending is the right one?
  const std::string questions =
      R"({"goal": "To keep milk fresh,", "sol1": "put it in a cold place.", "sol2": "put it in the sun.", "label": 0})"
      "\n"
      R"({"goal": "To see in the dark,", "sol1": "close your eyes.", "sol2": "light a lamp.", "label": 1})"
      "\n";

  nibble::EvaluateTaskRequest request;
  request.task = "piqa";
  request.files = {{"two.jsonl", questions}};
  request.paired = true;  // the first model is the original of the others
  const nibble::TaskVerdict verdict = nibble::evaluate_task(
      {{"original", nibble::open_model(argv[1])}, {"candidate", nibble::open_model(argv[2])}}, request);

  for (const nibble::TaskScores& model : verdict.models)
    for (const nibble::TaskMeasure& measure : model.measures)
      std::cout << model.model << ": " << measure.name << ' ' << measure.figure.value << '\n';
  for (const nibble::TaskChange& change : verdict.models[1].changes)
    std::cout << change.name << ": " << change.changed << " of " << verdict.questions << " answered differently, "
              << change.to_wrong << " now wrong, " << change.to_right << " now right\n";
  return verdict.questions == 2 && !verdict.partial() ? 0 : 1;
}
