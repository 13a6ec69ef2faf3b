// SPDX-License-Identifier: Apache-2.0
//
// What a task is: questions read from a file, and how an answer is scored. One file per task in this folder, one line
// per task in all.h. Prompts and scoring follow lm-evaluation-harness; docs/tasks.md writes them down.
//
//   const Task& task = find_task("hellaswag");
//   std::vector<Question> questions = task.read({"hellaswag_val.jsonl", text, ""});
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nibble/tasks.h"

namespace nibble {

enum class TaskKind {
  choice,       // the option with the highest log likelihood is chosen
  last_word,    // the model must put every token of the continuation first
  exact_match,  // the number in generated text must be the answer
  bleu,         // generated text is compared with a reference
};

// One way to answer: how probable is `continuation` after `context`?
struct Option {
  std::string context, continuation;
  std::size_t characters =
      0;  // of the choice as it stands in the data, without the space before it: what acc_norm divides by
};

struct Question {
  std::size_t line = 0;           // in its file, from 1 (of a list: the entry)
  std::vector<Option> options{};  // choice: at least two; last_word: one
  std::size_t answer = 0;         // choice: the right option
  std::string prompt{};           // exact_match and bleu
  std::string reference{};        // the right answer's text
};

struct Task {
  std::string_view name, description;
  TaskKind kind = TaskKind::choice;
  bool normalised = false;                   // acc_norm is reported beside acc
  std::string_view preamble{};               // fixed text before everything; "{subject}" is the file's
  std::span<const std::string_view> stop{};  // generation ends before these
  std::string_view labels_suffix{};          // "valid.jsonl" has its labels in "valid" + this
  std::vector<Question> (*read)(const TaskFile& file) = nullptr;
};

// Error(invalid_argument) lists the names.
const Task& find_task(std::string_view name);

}  // namespace nibble
