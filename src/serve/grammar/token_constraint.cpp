// SPDX-License-Identifier: Apache-2.0
#include "serve/grammar/token_constraint.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "nibble/error.h"

namespace nibble::serve {

TokenList::TokenList(const Tokenizer& tokenizer, std::size_t vocabulary) : vocabulary_(vocabulary) {
  for (std::size_t i = 0; i < std::min(vocabulary, tokenizer.vocab_size()); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (tokenizer.is_end(id)) {
      ends_.push_back(id);
    } else {
      std::string bytes = tokenizer.piece(id);
      // The token of this byte alone is none.
      if (bytes.empty() || bytes.find(kControl) != std::string::npos) continue;
      if (tokenizer.is_special(id)) bytes.insert(bytes.begin(), kControl);
      tokens_.push_back({id, 0, std::move(bytes)});
    }
  }
  std::ranges::sort(tokens_, {}, [](const Token& token) { return std::pair(std::string_view(token.bytes), token.id); });
  for (std::size_t i = 1; i < tokens_.size(); ++i) {
    const std::string &a = tokens_[i - 1].bytes, &b = tokens_[i].bytes;
    tokens_[i].common = static_cast<std::uint32_t>(std::ranges::mismatch(a, b).in1 - a.begin());
  }
  places_.assign(vocabulary, tokens_.size());
  for (std::size_t i = 0; i < tokens_.size(); ++i) places_[static_cast<std::size_t>(tokens_[i].id)] = i;
}

std::string_view TokenList::bytes_of(std::int32_t id) const noexcept {
  const std::size_t place = places_[static_cast<std::size_t>(id)];
  return place == tokens_.size() ? std::string_view() : tokens_[place].bytes;
}

TokenConstraint::TokenConstraint(const TokenList& list, GrammarRules rules)
    : TokenConstraint(list, std::make_shared<const GrammarRules>(std::move(rules))) {}

TokenConstraint::TokenConstraint(const TokenList& list, std::shared_ptr<const GrammarRules> rules)
    : list_(list), machine_(std::move(rules)), state_(machine_.begin()) {}

// Of a token only the bytes are walked that it does not share with the one before.
const std::vector<bool>& TokenConstraint::mask() {
  constexpr std::size_t kMostMasks = 512;
  const auto known = masks_.find(state_);
  if (known != masks_.end()) return known->second;
  if (masks_.size() == kMostMasks) masks_.clear();
  std::vector<bool> mask(list_.vocabulary(), false);
  std::vector<GrammarMachine::State> path = {state_};  // behind each byte of the last token; shorter where it died
  for (const TokenList::Token& token : list_.tokens()) {
    const std::size_t common = token.common;
    if (path.back() == GrammarMachine::kDead && path.size() - 1 <= common) continue;
    path.resize(std::min(path.size(), common + 1));
    while (path.back() != GrammarMachine::kDead && path.size() <= token.bytes.size())
      path.push_back(machine_.next(path.back(), static_cast<unsigned char>(token.bytes[path.size() - 1])));
    if (path.back() != GrammarMachine::kDead) mask[static_cast<std::size_t>(token.id)] = true;
  }
  if (is_complete())
    for (const std::int32_t end : list_.ends()) mask[static_cast<std::size_t>(end)] = true;
  return masks_[state_] = std::move(mask);
}

void TokenConstraint::restrict(std::span<float> logits) {
  const std::vector<bool>& allowed = mask();
  bool any = false;
  for (std::size_t id = 0; id < logits.size(); ++id) {
    if (!allowed[id]) logits[id] = -std::numeric_limits<float>::infinity();
    any = any || allowed[id];
  }
  if (!any) throw Error(ErrorKind::unusable_input, "the vocabulary has no token that goes on as the grammar asks for");
}

void TokenConstraint::take(std::int32_t id) { state_ = machine_.next(state_, list_.bytes_of(id)); }

bool TokenConstraint::take(std::string_view bytes) {
  const GrammarMachine::State next = machine_.next(state_, bytes);
  if (next == GrammarMachine::kDead) return false;
  state_ = next;
  return true;
}

bool TokenConstraint::allows(std::int32_t id) { return mask()[static_cast<std::size_t>(id)]; }

}  // namespace nibble::serve
