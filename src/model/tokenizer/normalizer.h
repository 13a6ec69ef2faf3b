// SPDX-License-Identifier: Apache-2.0
//
// What happens to text before it is cut into words: an ordered list of steps, data that can be read, compared and
// written back. Pure functions, safe from many threads.
//
//   const std::string normal = normalize({Prepend{"▁"}, Replace{Pattern::literal(" "), "▁"}}, "a b");   // "▁a▁b"
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "model/tokenizer/chars_map.h"
#include "model/tokenizer/pattern.h"

namespace nibble::tokenizing {

enum class UnicodeForm { nfc, nfd, nfkc, nfkd };

struct ToForm {
  UnicodeForm form = UnicodeForm::nfc;
};
struct Lowercase {};
struct StripAccents {};  // removes combining marks
struct Prepend {
  std::string text;
};  // unless the text is empty
struct Replace {
  Pattern pattern;
  std::string content;
};
struct StripSpaces {
  bool left = true;
  bool right = true;
};
struct ApplyCharsMap {
  std::shared_ptr<const CharsMap> map;
  bool by_grapheme = false;  // as the package `tokenizers` applies it, not as SentencePiece does
};
// SentencePiece's own rules, in its order: spaces at the ends go and runs become one (remove_extra), a space is put in
// front (add_prefix), spaces become U+2581 (escape).
struct SentencePieceSpaces {
  bool remove_extra = true;
  bool add_prefix = true;
  bool escape = true;
};

using NormalizerStep =
    std::variant<ToForm, Lowercase, StripAccents, Prepend, Replace, StripSpaces, ApplyCharsMap, SentencePieceSpaces>;
using Normalizer = std::vector<NormalizerStep>;

// U+2581, SentencePiece's visible space.
inline constexpr std::string_view kVisibleSpace = "\xE2\x96\x81";

// `text` must be well-formed UTF-8.
std::string normalize(const Normalizer& steps, std::string text);

}  // namespace nibble::tokenizing
