// SPDX-License-Identifier: Apache-2.0
#include "model/tokenizer/piece_decoder.h"

#include "model/tokenizer/byte_alphabet.h"
#include "model/tokenizer/vocabulary.h"

namespace nibble::tokenizing {
namespace {

void strip_copies(std::string& text, const std::string& content, std::size_t left, std::size_t right) {
  if (content.empty()) return;
  std::string_view rest = text;
  for (; left > 0 && rest.starts_with(content); --left) rest.remove_prefix(content.size());
  for (; right > 0 && rest.ends_with(content); --right) rest.remove_suffix(content.size());
  if (rest.size() != text.size()) text = std::string(rest);
}

// Each step returns true when the piece is bytes now, which later steps leave alone.
bool apply(const Replace& step, std::string& piece) {
  piece = normalize({step}, std::move(piece));
  return false;
}

bool apply(const FromByteAlphabet&, std::string& piece) {
  std::string bytes;
  if (!append_unspelled(piece, bytes)) return false;
  piece = std::move(bytes);
  return true;
}

bool apply(const FromByteToken&, std::string& piece) {
  const auto byte = parse_byte_token(piece);
  if (!byte) return false;
  piece.assign(1, static_cast<char>(*byte));
  return true;
}

bool apply(const StripEach& step, std::string& piece) {
  strip_copies(piece, step.content, step.left, step.right);
  return false;
}

}  // namespace

void PieceDecoder::append_piece(std::string_view piece, std::string& out) const {
  std::string text(piece);
  for (const Step& step : steps)
    if (std::visit([&](const auto& s) { return apply(s, text); }, step)) break;
  out += text;
}

void PieceDecoder::append_first_piece(std::string_view piece, std::string& out) const {
  if (drop_from_first.empty()) return append_piece(piece, out);
  append_piece(normalize({Replace{Pattern::literal(drop_from_first), ""}}, std::string(piece)), out);
}

void PieceDecoder::strip_begin(std::string& text) const { strip_copies(text, strip, strip_left, 0); }
void PieceDecoder::strip_end(std::string& text) const { strip_copies(text, strip, 0, strip_right); }

}  // namespace nibble::tokenizing
