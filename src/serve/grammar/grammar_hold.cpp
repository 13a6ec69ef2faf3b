// SPDX-License-Identifier: Apache-2.0
#include "serve/grammar/grammar_hold.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace nibble::serve {

namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

// Behind white space, and what tells control tokens.
std::size_t skip_blanks(std::string_view text, std::size_t at) {
  while (at < text.size() && std::string_view(" \n\t\r\xff").find(text[at]) != std::string_view::npos) ++at;
  return at;
}

// Behind a mark that the text has at `at`, whatever of it are control tokens. The text's length and one more: it
// ends before the mark does; nothing: it has something else there.
std::optional<std::size_t> behind_mark(std::string_view text, std::size_t at, std::string_view mark) {
  for (const char c : mark) {
    while (at < text.size() && text[at] == TokenList::kControl) ++at;
    if (at == text.size()) return text.size() + 1;
    if (text[at++] != c) return std::nullopt;
  }
  return at;
}

}  // namespace

GrammarHold::GrammarHold(const TokenList& list, std::shared_ptr<const GrammarRules> rules, GrammarStart start)
    : list_(list), constraint_(list, std::move(rules)), start_(std::move(start)), holds_(find_begin().has_value()) {}

// Nothing: thoughts have not ended, or it is not told yet whether they begin.
std::optional<std::size_t> GrammarHold::behind_thoughts() const {
  std::size_t at = 0;
  if (!start_.begins_in_thought) {
    if (start_.opening.empty() || start_.thought_open.empty()) return 0;
    at = skip_blanks(text_, 0);
    const std::optional<std::size_t> behind = behind_mark(text_, at, start_.thought_open);
    if (!behind) return 0;
    if (*behind > text_.size()) return std::nullopt;
    at = *behind;
  }
  const std::size_t end = text_.find(start_.thought_close, at);
  if (end == std::string::npos) return std::nullopt;
  return end + start_.thought_close.size();
}

// Where in the text the grammar's own begins.
std::optional<std::size_t> GrammarHold::find_begin() const {
  const std::optional<std::size_t> begin = behind_thoughts();
  if (!begin || start_.opening.empty()) return begin;
  if (start_.opens_text) {
    const std::size_t first = skip_blanks(text_, *begin);
    return text_from(first).starts_with(start_.opening) ? std::optional(first) : std::nullopt;
  }
  const std::size_t found = text_.find(start_.opening, *begin);
  if (found == std::string::npos) return std::nullopt;
  return found > 0 && text_[found - 1] == TokenList::kControl ? found - 1 : found;
}

void GrammarHold::restrict(std::span<float> logits) {
  if (holds_) return constraint_.restrict(logits);
  // A text that is to be of a form does not end before it.
  if (start_.opening.empty())
    for (const std::int32_t end : list_.ends()) logits[static_cast<std::size_t>(end)] = kNever;
}

bool GrammarHold::take(std::int32_t id, std::span<float> logits) {
  if (holds_) {
    constraint_.take(id);
    return true;
  }
  const std::string_view bytes = list_.bytes_of(id);
  text_ += bytes;
  const std::optional<std::size_t> begin = find_begin();
  if (!begin) return true;
  holds_ = constraint_.take(text_from(*begin));
  if (holds_) return true;
  text_.resize(text_.size() - bytes.size());
  logits[static_cast<std::size_t>(id)] = kNever;
  return false;
}

}  // namespace nibble::serve
