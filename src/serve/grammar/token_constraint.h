// SPDX-License-Identifier: Apache-2.0
//
// A text that is held to a grammar, token by token.
//
//   const TokenList list(tokenizer, vocabulary);            // once for a model
//   TokenConstraint constraint(list, grammar_of_schema(schema));
//   constraint.restrict(logits);                            // what may not come has probability 0
//   constraint.take(chosen);
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "model/tokenizer/tokenizer.h"
#include "serve/grammar/grammar.h"

namespace nibble::serve {

// A vocabulary's tokens in the order of their bytes, so that what several begin with is looked at once. Immutable, safe
// from many threads.
class TokenList {
 public:
  struct Token {
    std::int32_t id;
    std::uint32_t common;  // bytes that it begins with as the one before it does
    std::string bytes;
  };
  // In front of a control token's text: of no text in UTF-8, so that only a grammar that names the token admits it.
  static constexpr char kControl = '\xff';

  // vocabulary: rows of logits.
  TokenList(const Tokenizer& tokenizer, std::size_t vocabulary);

  std::span<const Token> tokens() const noexcept { return tokens_; }
  // As a grammar has it; empty: an end, or outside the vocabulary.
  std::string_view bytes_of(std::int32_t id) const noexcept;
  std::span<const std::int32_t> ends() const noexcept { return ends_; }  // tokens that end a text
  std::size_t vocabulary() const noexcept { return vocabulary_; }

 private:
  std::vector<Token> tokens_;
  std::vector<std::size_t> places_;  // in tokens_, by id
  std::vector<std::int32_t> ends_;
  std::size_t vocabulary_;
};

// One thread at a time.
class TokenConstraint {
 public:
  // list must outlive this. Errors as GrammarMachine's.
  TokenConstraint(const TokenList& list, GrammarRules rules);
  TokenConstraint(const TokenList& list, std::shared_ptr<const GrammarRules> rules);

  // logits: [vocabulary]. Error(unusable_input): the vocabulary has no token that goes on.
  void restrict(std::span<float> logits);
  // One that restrict() left.
  void take(std::int32_t id);
  // False, and nothing has changed: no text goes on so.
  bool take(std::string_view bytes);
  // Whether the text may end here.
  bool is_complete() const noexcept { return machine_.is_complete(state_); }
  // Whether a token may come next.
  bool allows(std::int32_t id);

 private:
  const std::vector<bool>& mask();
  const TokenList& list_;
  GrammarMachine machine_;
  GrammarMachine::State state_;
  std::unordered_map<GrammarMachine::State, std::vector<bool>> masks_;  // of states that were met
};

}  // namespace nibble::serve
