// SPDX-License-Identifier: Apache-2.0
//
// Tokens and their probabilities as clients read them.
#pragma once

#include <span>
#include <string>

#include "model/tokenizer/tokenizer.h"
#include "serve/api/api_error.h"
#include "serve/generation.h"

namespace nibble::serve {

// Of chats: {"token", "logprob", "bytes", "top_logprobs": [{"token", "logprob", "bytes"}]} for each.
Json chat_logprobs(std::span<const ToldToken> tokens, const Tokenizer& tokenizer);

// Of continued texts: lists that grow as tokens come.
class TextLogprobs {
 public:
  // Tokens of the text that is given out; of a prompt given as text control tokens are none of it.
  void add(std::span<const ToldToken> tokens, const Tokenizer& tokenizer, bool counts_special);
  // {"tokens", "token_logprobs", "top_logprobs", "text_offset"} since it was taken last; offsets go on.
  Json take();

 private:
  Json lists_ = empty();
  std::size_t offset_ = 0;  // in code points
  static Json empty();
};

// What a probability of 0 is told as: JSON has no infinity.
double told_log_probability(double value) noexcept;

}  // namespace nibble::serve
