// SPDX-License-Identifier: Apache-2.0
//
// A byte-level BPE tokenizer learned from text, as the Hugging Face tokenizers library learns one: the same merges of
// the same text.
//
//   TokenizerTraining training({.size = 3072});
//   training.add(text);
//   const TrainedTokenizer made = training.finish();
//   // made.tokenizer_json, made.tokenizer_config_json: files of a model's directory
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

namespace nibble {

struct TokenizerTrainingOptions {
  std::size_t size = 3072;           // tokens in all: two special ones, 256 of bytes, and what merges make
  std::string separator = "\n\n\n";  // between documents; belongs to none of them
  std::string begin = "<|begin_of_text|>", end = "<|end_of_text|>";
};

struct TrainedTokenizer {
  std::string tokenizer_json, tokenizer_config_json;
  std::size_t words = 0, merges = 0;  // different words of the text
};

class TokenizerTraining {
 public:
  // Error(invalid_argument): a size that leaves no room for merges.
  explicit TokenizerTraining(const TokenizerTrainingOptions& options);
  ~TokenizerTraining();

  // Documents of one text, in UTF-8. Memory grows with the different words.
  void add(std::string_view text);
  // Error(unusable_input): the text has too few pairs for a vocabulary of that size; says how many it makes.
  TrainedTokenizer finish() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nibble
