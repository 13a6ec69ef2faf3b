// SPDX-License-Identifier: Apache-2.0
//
// A text that is held to a grammar from some place on: behind its thoughts, or from a mark on by which it says that
// what the grammar describes is to come. One thread.
//
//   GrammarHold hold(list, rules, {.opening = "<tool_call>"});
//   do {
//     hold.restrict(logits);
//     id = choose(logits);
//   } while (!hold.take(id, logits));
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "serve/generation.h"
#include "serve/grammar/token_constraint.h"

namespace nibble::serve {

class GrammarHold {
 public:
  // list must outlive this. Errors as TokenConstraint's.
  GrammarHold(const TokenList& list, std::shared_ptr<const GrammarRules> rules, GrammarStart start);

  // Leaves of the logits what may come next.
  void restrict(std::span<float> logits);
  // One that restrict() left. False: it would begin what the grammar describes in a way that it does not admit; its
  // logit is gone, and another is to be chosen.
  bool take(std::int32_t id, std::span<float> logits);
  bool holds() const noexcept { return holds_; }

 private:
  std::optional<std::size_t> find_begin() const;
  std::optional<std::size_t> behind_thoughts() const;
  std::string_view text_from(std::size_t at) const { return std::string_view(text_).substr(at); }

  const TokenList& list_;
  TokenConstraint constraint_;
  GrammarStart start_;
  std::string text_;  // before it holds
  bool holds_;
};

}  // namespace nibble::serve
