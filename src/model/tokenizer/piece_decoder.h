// SPDX-License-Identifier: Apache-2.0
//
// From a token's spelling to the bytes it adds to running text, and what is taken off the ends of the whole. Data that
// can be compared and written back; safe from many threads.
//
//   const PieceDecoder decoder{.steps = {Replace{Pattern::literal("▁"), " "}, FromByteToken{}}, .strip_left = 1};
//   decoder.append_piece("▁Hello", out);   // " Hello"
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/tokenizer/normalizer.h"

namespace nibble::tokenizing {

struct FromByteAlphabet {};  // byte_alphabet.h; a piece with other characters stays as it is
struct FromByteToken {};     // "<0x0A>" becomes that byte
struct StripEach {
  std::string content;
  std::size_t left = 0;
  std::size_t right = 0;
};  // at most so many from each piece

struct PieceDecoder {
  using Step = std::variant<Replace, FromByteAlphabet, FromByteToken, StripEach>;
  std::vector<Step> steps;
  // From the whole text: at most so many copies of `strip` at its begin and end.
  std::string strip = " ";
  std::size_t strip_left = 0;
  std::size_t strip_right = 0;
  // Every piece that comes before any text loses one copy (SentencePiece with remove_extra_whitespaces).
  bool strip_each_leading_piece = false;
  // The first piece loses every copy of this text (the Metaspace decoder of tokenizer.json); empty: nothing.
  std::string drop_from_first;
  std::string separator;  // between pieces; a tokenizer.json without a decoder joins by spaces

  void append_piece(std::string_view piece, std::string& out) const;
  void append_first_piece(std::string_view piece, std::string& out) const;
  void strip_begin(std::string& text) const;
  void strip_end(std::string& text) const;
};

}  // namespace nibble::tokenizing
