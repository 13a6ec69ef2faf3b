// SPDX-License-Identifier: Apache-2.0
//
// The tokens of a tokenizer: id -> text, kind and score, and text -> id. Immutable after construction, safe from many
// threads.
//
//   const Vocabulary vocabulary(std::move(tokens));
//   const std::optional<std::int32_t> id = vocabulary.find("<s>");
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace nibble::tokenizing {

// The numbering of GGUF's tokenizer.ggml.token_type.
enum class TokenKind : std::uint8_t { normal = 1, unknown, control, user_defined, unused, byte };

struct Token {
  std::string text;  // as the vocabulary spells it; empty: no token has this id
  TokenKind kind = TokenKind::normal;
  bool special = false;  // left out by decode(skip_special)
  float score = 0;       // SentencePiece; see Vocabulary::has_scores
};

class Vocabulary {
 public:
  // More ids than any real vocabulary; keeps a hostile id from becoming an allocation.
  static constexpr std::uint64_t kMaxTokens = 1u << 21;

  Vocabulary() = default;
  // Of tokens with one text the first is found; empty texts are never found.
  explicit Vocabulary(std::vector<Token> tokens);
  // The index refers to the tokens, so a copy would refer to its original.
  Vocabulary(const Vocabulary&) = delete;
  Vocabulary& operator=(const Vocabulary&) = delete;
  Vocabulary(Vocabulary&&) noexcept = default;
  Vocabulary& operator=(Vocabulary&&) noexcept = default;

  std::size_t size() const noexcept { return tokens_.size(); }
  bool contains(std::int64_t id) const noexcept { return id >= 0 && static_cast<std::uint64_t>(id) < tokens_.size(); }
  const Token& operator[](std::size_t id) const noexcept { return tokens_[id]; }
  const std::vector<Token>& tokens() const noexcept { return tokens_; }
  std::optional<std::int32_t> find(std::string_view text) const;
  // The token of kind byte for this byte ("<0x0A>"), or -1.
  std::int32_t byte_token(std::uint8_t byte) const noexcept { return byte_tokens_[byte]; }

  // Scores are there only when a SentencePiece model or a GGUF file gave them.
  bool has_scores = false;
  void set_score(std::size_t id, float score) { tokens_[id].score = score; }

 private:
  std::vector<Token> tokens_;
  std::unordered_map<std::string_view, std::int32_t> ids_;
  std::array<std::int32_t, 256> byte_tokens_{};
};

// The byte that a text like "<0x0A>" names.
std::optional<std::uint8_t> parse_byte_token(std::string_view text);
// "<0x0A>", digits in upper case.
std::string byte_token_text(std::uint8_t byte);

}  // namespace nibble::tokenizing
