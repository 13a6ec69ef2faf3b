// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/vocabulary.h"

namespace nibble::tokenizing {

Vocabulary::Vocabulary(std::vector<Token> tokens) : tokens_(std::move(tokens)) {
  byte_tokens_.fill(-1);
  ids_.reserve(tokens_.size());
  for (std::size_t id = 0; id < tokens_.size(); ++id) {
    const Token& token = tokens_[id];
    if (token.text.empty()) continue;
    ids_.emplace(token.text, static_cast<std::int32_t>(id));
    if (token.kind != TokenKind::byte) continue;
    if (const auto byte = parse_byte_token(token.text)) byte_tokens_[*byte] = static_cast<std::int32_t>(id);
  }
}

std::optional<std::int32_t> Vocabulary::find(std::string_view text) const {
  const auto found = ids_.find(text);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

namespace {

int upper_hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::optional<std::uint8_t> parse_byte_token(std::string_view text) {
  if (text.size() != 6 || text.substr(0, 3) != "<0x" || text[5] != '>') return std::nullopt;
  const int high = upper_hex_digit(text[3]);
  const int low = upper_hex_digit(text[4]);
  if (high < 0 || low < 0) return std::nullopt;
  return static_cast<std::uint8_t>(high * 16 + low);
}

std::string byte_token_text(std::uint8_t byte) {
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  std::string text = "<0x00>";
  text[3] = kDigits[byte >> 4];
  text[4] = kDigits[byte & 15];
  return text;
}

}  // namespace nibble::tokenizing
