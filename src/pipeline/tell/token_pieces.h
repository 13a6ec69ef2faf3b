// SPDX-License-Identifier: Apache-2.0
//
// A text's tokens one by one: how the vocabulary spells each, what it adds to running text, and which part of the text
// it stands for. Pure functions, safe from many threads.
//
//   const Tokenizer tokenizer = open_tokenizer("model/tokenizer.json");
//   for (const TokenPiece& piece : list_pieces(tokenizer, "Hello", {})) ...   // 9906 "Hello" 0..5
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/tokenizer.h"

namespace nibble {

// Of a model, of a directory without weights, or of a vocabulary alone: tokenizer.json, tokenizer.model, tekken.json,
// tiktoken's ranks, by any name, with the tokenizer_config.json beside a file that ends in .json. Errors as
// SourceModel::open's and Tokenizer's; corrupt (a file that is none of these).
Tokenizer open_tokenizer(const std::filesystem::path& path);

struct TextRange {
  std::size_t begin = 0, end = 0;
};

struct TokenPiece {
  std::int32_t id = 0;
  std::string spelling;  // in the vocabulary
  std::string text;      // the bytes that it adds to running text; empty for tokens put around the text
  bool special = false;
  // Of the text, in bytes and in characters (a character that several tokens make belongs to all of them), where each
  // sequence of bytes that is no UTF-8 counts as U+FFFD. Nothing where the tokenizer changes the text before it cuts
  // it, between the first such place and the last, and for tokens put around the text.
  std::optional<TextRange> bytes, characters;
};

std::vector<TokenPiece> list_pieces(const Tokenizer& tokenizer, std::string_view text, const EncodeOptions& options);

// In quotes, with C's escapes for control characters, quotes and bytes that are no UTF-8: "\xE2\x82".
std::string quote_bytes(std::string_view bytes);

}  // namespace nibble
