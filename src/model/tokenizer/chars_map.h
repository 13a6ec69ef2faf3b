// SPDX-License-Identifier: Apache-2.0
//
// SentencePiece's precompiled normalisation table: a double-array trie from character sequences to their replacements.
// The layout is that of sentencepiece's normalizer: u32 size of the trie in bytes, the trie's 32-bit units, then
// NUL-terminated replacements. Immutable, safe from many threads.
//
//   const CharsMap map(blob, "tokenizer.model: normalizer_spec.precompiled_charsmap");
//   const std::string normal = map.apply("ﬁne");   // "fine" with nmt_nfkc
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace nibble::tokenizing {

class CharsMap {
 public:
  // Error(corrupt) names `place`.
  CharsMap(std::string_view blob, const std::string& place);

  // Replaces the longest known sequence at every position; what is not known is copied.
  std::string apply(std::string_view text) const;
  // The same as the package `tokenizers` has it: character by character as they are seen. One of less than six bytes
  // becomes, as a whole, the replacement of the shortest known sequence that it begins with; of others, and where there
  // is none, each code point does.
  std::string apply_by_grapheme(std::string_view text) const;
  std::string blob() const;  // as it was given

 private:
  // Calls visit(length, where its replacement starts) for the known sequences at the begin of `text`, from the shortest
  // on, while it returns true.
  template <class Visit>
  void each_known(std::string_view text, Visit&& visit) const noexcept;
  // Length of the longest known sequence at the begin of `text` (0: none) and where its replacement starts.
  std::size_t longest(std::string_view text, std::size_t& replacement) const noexcept;
  // The replacement of the shortest one; null: there is none.
  const char* of_shortest(std::string_view text) const noexcept;

  std::vector<std::uint32_t> units_;
  std::string replacements_;
};

}  // namespace nibble::tokenizing
