// SPDX-License-Identifier: Apache-2.0
//
// One model answers the questions of a task, scored as lm-evaluation-harness scores them (docs/tasks.md).
//
//   Answerer answerer(decoder, tokenizer, find_task("hellaswag"));
//   Answer answer = answerer.answer(question);
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/decoder.h"
#include "engine/generate.h"
#include "evaluate/tasks/bleu.h"
#include "evaluate/tasks/task.h"
#include "model/tokenizer/tokenizer.h"
#include "nibble/tasks.h"

namespace nibble {

struct AnswerOptions {
  std::size_t max_tokens = 256;  // of generated text
};

class Answerer {
 public:
  Answerer(Decoder& decoder, const Tokenizer& tokenizer, const Task& task, const AnswerOptions& options = {});

  // The same for any number of threads. on_text: of generated answers, as in generate(). Error(unsupported): a
  // continuation without tokens or longer than the model's context, a tokenizer without a token to begin with.
  Answer answer(const Question& question, const TextCallback& on_text = {});
  // Options that begin alike are read once as far as they do.
  std::vector<OptionScore> score(const std::vector<Option>& options);

 private:
  struct Sequence;
  Sequence encode(const Option& option) const;
  OptionScore score_rest(const Sequence& sequence, std::size_t shared);
  Answer generate_answer(const Question& question, const TextCallback& on_text);

  Decoder& decoder_;
  const Tokenizer& tokenizer_;
  const Task& task_;
  AnswerOptions options_;
  KvCache cache_;  // grows to the longest option so far
  std::vector<float> logits_;
};

}  // namespace nibble
