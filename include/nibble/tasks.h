// SPDX-License-Identifier: Apache-2.0
//
// What models score on tasks, as lm-evaluation-harness scores them, and what candidates answer differently from their
// original.
//
//   nibble::TaskVerdict verdict = nibble::evaluate_task({{"original", model}, {"q4", quantized}},
//       {.task = "piqa", .files = {{"valid.jsonl", questions, labels}}, .paired = true});
//   std::cout << verdict.models[1].changes[0].to_wrong << '\n';
//
// Functions may be called from many threads at once; each has threads of its own. Results are plain data.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "nibble/evaluate.h"

namespace nibble {

struct TaskFile {
  std::string name, text;
  std::string labels{};  // of tasks that keep answers in a file of their own; empty: there is none
};

struct OptionScore {
  double log_likelihood = 0;  // of the continuation's tokens, natural
  bool greedy = false;        // each of them is the most probable one
};

// What one sentence adds to a corpus' BLEU (Papineni et al. 2002).
struct BleuCounts {
  std::array<std::uint64_t, 4> matches{}, totals{};  // of n-grams, n = 1 .. 4
  std::uint64_t length = 0, reference_length = 0;    // in tokens
};

struct Answer {
  std::vector<OptionScore> scores;          // of the options
  std::size_t chosen = 0, chosen_norm = 0;  // the best option by log likelihood, and by log likelihood per character
  bool right = false, right_norm = false;   // of generated numbers: strict, and the last number in the text
  std::string text;                         // what was generated
  BleuCounts bleu;
};

// One way of counting: "acc", "acc_norm", "exact_match", "flexible_match", "perplexity", "bleu".
struct TaskMeasure {
  std::string name;
  Figure figure;
};

// Of a candidate against the original, by one measure.
struct TaskChange {
  std::string name;
  Figure difference;          // candidate - original
  std::uint64_t changed = 0;  // questions answered differently, rightly or wrongly (bleu: other text)
  std::uint64_t to_wrong = 0, to_right = 0;
  double mcnemar = 1;  // exact p of to_wrong against to_right; 1 for measures that are no counts
};

struct TaskScores {
  std::string model;
  std::vector<TaskMeasure> measures;
  std::vector<std::vector<TaskMeasure>> files;  // of each file, when there are several
  std::vector<TaskChange> changes;              // against the first model; empty for it and for a run of one
};

struct AnsweredQuestion {
  std::string file;
  std::size_t line = 0, right = 0;  // right: the option, of choices
  std::vector<Answer> answers;      // of each model
};

struct TaskVerdict {
  std::string task;
  std::vector<std::string> files;
  std::uint64_t questions = 0, planned = 0;
  std::vector<TaskScores> models;
  std::vector<AnsweredQuestion> answered;
  std::vector<std::string> left_out{};  // models that a stop kept from being asked at all
  bool partial() const { return questions < planned || !left_out.empty(); }
};

struct EvaluateTaskRequest {
  std::string task{};  // one of list_task_descriptions()
  std::vector<TaskFile> files{};
  std::vector<TaskFile> shots{};   // solved examples, shown before each question
  std::size_t num_shots = 0;       // how many of them
  std::size_t limit = 0;           // questions of each file; 0: all
  bool paired = false;             // the first model is the original of the others
  std::size_t max_tokens = 256;    // of a generated answer
  ArithmeticOptions arithmetic{};  // how all models are run
  bool keep_partial = false;       // a stop by progress gives the figures so far, and is no Error(cancelled)
  MachineOptions machine{};
  ProgressCallback progress{};  // stages "load", "evaluate"
};

// Errors: invalid_argument (an unknown task, no model), unusable_input (too few shots), corrupt (a malformed file:
// names file and line), not_found (no tokenizer), unsupported, cancelled.
TaskVerdict evaluate_task(const std::vector<NamedModel>& models, const EvaluateTaskRequest& request);

struct TaskDescription {
  std::string name, description;
};
std::vector<TaskDescription> list_task_descriptions();

}  // namespace nibble
