// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>

#include "base/utf8.h"

namespace nibble::tokenizing {
namespace {

std::size_t character_before(std::string_view text, std::size_t at) noexcept {
  --at;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

bool is_word_character(char32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

bool is_space(char32_t c) {
  if ((c >= 0x09 && c <= 0x0D) || c == 0x85) return true;
  const utf8proc_category_t category = utf8proc_category(static_cast<utf8proc_int32_t>(c));
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

bool stands_alone(std::string_view text, std::size_t begin, std::size_t end) {
  if (begin > 0) {
    std::size_t at = character_before(text, begin);
    if (is_word_character(next_code_point(text, at))) return false;
  }
  return end == text.size() || !is_word_character(next_code_point(text, end));
}

std::size_t spaces_begin(std::string_view text, std::size_t floor, std::size_t begin) {
  while (begin > floor) {
    const std::size_t before = character_before(text, begin);
    std::size_t at = before;
    if (!is_space(next_code_point(text, at))) break;
    begin = before;
  }
  return std::max(begin, floor);
}

std::size_t spaces_end(std::string_view text, std::size_t end) {
  while (end < text.size()) {
    std::size_t at = end;
    if (!is_space(next_code_point(text, at))) break;
    end = at;
  }
  return end;
}

std::uint64_t edge(std::uint32_t node, char byte) noexcept {
  return std::uint64_t{node} << 8 | static_cast<std::uint8_t>(byte);
}

}  // namespace

void AddedTokens::Trie::add(std::string_view text, std::int32_t token) {
  firsts.set(static_cast<std::uint8_t>(text[0]));
  std::uint32_t node = 0;
  for (const char c : text) {
    const auto [next, added] = edges.emplace(edge(node, c), static_cast<std::uint32_t>(token_at.size()));
    if (added) token_at.push_back(-1);
    node = next->second;
  }
  if (token_at[node] < 0) token_at[node] = token;
}

std::int32_t AddedTokens::Trie::longest(std::string_view text, std::size_t& size) const {
  std::int32_t token = -1;
  std::uint32_t node = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto next = edges.find(edge(node, text[i]));
    if (next == edges.end()) break;
    node = next->second;
    if (token_at[node] < 0) continue;
    token = token_at[node];
    size = i + 1;
  }
  return token;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    AddedToken& token = tokens_[i];
    if (token.matched.empty()) token.matched = token.content;
    if (token.matched.empty()) continue;
    const Stage stage = token.normalized ? Stage::normalized : Stage::raw;
    tries_[static_cast<std::size_t>(stage)].add(token.matched, static_cast<std::int32_t>(i));
  }
}

std::vector<Section> AddedTokens::cut(std::string_view text, Stage stage, bool parse_special) const {
  const Trie& trie = tries_[static_cast<std::size_t>(stage)];
  std::vector<Section> sections;
  std::size_t covered = 0;  // up to here everything is in sections
  for (std::size_t at = 0; at < text.size();) {
    std::size_t size = 0;
    const std::int32_t index =
        trie.firsts.test(static_cast<std::uint8_t>(text[at])) ? trie.longest(text.substr(at), size) : -1;
    if (index < 0) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[index];
    std::size_t begin = at;
    std::size_t end = at + size;
    at = end;
    if (token.special && !parse_special) continue;
    if (token.single_word && !stands_alone(text, begin, end)) continue;
    if (begin < covered) continue;  // the token before took the white space that this one consists of
    if (token.lstrip) begin = spaces_begin(text, covered, begin);
    if (token.rstrip) end = spaces_end(text, end);
    if (begin > covered) sections.push_back({text.substr(covered, begin - covered), -1});
    sections.push_back({text.substr(begin, end - begin), token.id});
    covered = end;
  }
  if (covered < text.size()) sections.push_back({text.substr(covered), -1});
  return sections;
}

}  // namespace nibble::tokenizing
