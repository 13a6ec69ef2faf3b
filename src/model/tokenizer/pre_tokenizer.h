// SPDX-License-Identifier: Apache-2.0
//
// How normalised text is cut into the words that the model encodes one by one: an ordered list of steps, data that can
// be read, compared and written back. Pure functions, safe from many threads.
//
//   CutText cut = CutText::whole("two words");
//   pre_tokenize({Split{Pattern::regex("\\S+|\\s+", place)}, ByteMap{}}, cut);   // "two", "Ġ", "words"
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "model/tokenizer/pattern.h"

namespace nibble::tokenizing {

enum class SplitBehaviour { removed, isolated, merged_with_previous, merged_with_next, contiguous };

struct Split {
  Pattern pattern;
  SplitBehaviour behaviour = SplitBehaviour::isolated;
  bool invert = false;  // what does not match counts as the delimiter
};
struct AddSpace {};  // a space in front of every piece that has none
struct ByteMap {};   // bytes become the characters that spell them (byte_alphabet.h)
enum class PrependScheme { always, first, never };
struct Metaspace {
  std::string replacement = "\xE2\x96\x81";
  PrependScheme prepend = PrependScheme::always;
  bool split = true;
};

using PreTokenizerStep = std::variant<Split, AddSpace, ByteMap, Metaspace>;
using PreTokenizer = std::vector<PreTokenizerStep>;

// A text and the pieces it has been cut into, in order. Pieces are never empty.
struct CutText {
  struct Piece {
    std::size_t begin = 0;
    std::size_t end = 0;
  };
  std::string text;
  std::vector<Piece> pieces;
  bool at_start = true;  // the text begins where the user's text begins

  static CutText whole(std::string text, bool at_start = true);
  std::string_view operator[](std::size_t piece) const {
    return std::string_view(text).substr(pieces[piece].begin, pieces[piece].end - pieces[piece].begin);
  }
};

// Changes `cut` in place.
void pre_tokenize(const PreTokenizer& steps, CutText& cut);

}  // namespace nibble::tokenizing
