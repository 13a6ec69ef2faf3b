// SPDX-License-Identifier: Apache-2.0
//
// Byte-pair encoding of one word: characters become symbols, and the best mergeable pair of neighbours merges until
// none is left, with a queue over a linked list, so that a word of n characters takes O(n log n) steps. Two ways of
// ranking share it: a list of merges (tokenizer.json, GGUF "gpt2") and scores of the merged pieces (SentencePiece, GGUF
// "llama"). Immutable after construction, safe from many threads; each thread brings its own WordCache.
//
//   const BpeModel model = BpeModel::from_scores(vocabulary, {.byte_fallback = true, .unknown = 0});
//   WordCache cache;
//   model.encode("▁Hello", vocabulary, cache, ids);
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/tokenizer/merge_table.h"
#include "model/tokenizer/vocabulary.h"

namespace nibble::tokenizing {

struct BpeSettings {
  bool byte_fallback = false;  // a character without a token becomes its bytes' tokens, if there are all of them
  bool fuse_unknown = false;   // neighbouring unknown characters become one unknown token
  bool ignore_merges = false;  // a word that is a token is that token
  bool reads_unused = false;   // SentencePiece: an unused piece is cut again into the two it came from
  std::optional<std::int32_t> unknown;  // without it unknown characters vanish
  std::string continuing_prefix;        // in front of every character of a word but the first
  std::string end_suffix;               // behind the last one
};

// Words met before and their ids. Text repeats itself: nine words of ten come from here. An open-addressed table over
// two arenas, because a lookup is most of what a known word costs.
class WordCache {
 public:
  // nullopt when the word has not been met. Valid until the next word is remembered.
  std::optional<std::span<const std::int32_t>> find(std::string_view word) const noexcept;
  void remember(std::string_view word, std::span<const std::int32_t> ids);

 private:
  struct Slot {
    std::uint64_t hash = 0;
    std::uint32_t text_begin = 0, ids_begin = 0;
    std::uint16_t text_size = 0, ids_size = 0;  // no word is empty: 0 is a free slot
  };
  std::size_t place_of(std::string_view word, std::uint64_t hash) const noexcept;  // its slot, or the free one for it
  void grow();

  std::vector<Slot> slots_;  // a power of two, or none
  std::size_t count_ = 0;
  std::string texts_;
  std::vector<std::int32_t> ids_;
};

class BpeModel {
 public:
  BpeModel() = default;
  // The merges' symbols are token ids.
  BpeModel(MergeTable merges, BpeSettings settings, const Vocabulary& vocabulary);
  // Every way to cut a token into two known symbols is a merge, ranked by the token's score, highest first. Takes part:
  // a token of kind normal, user_defined or unused, and with `merges_all` of any kind (llama.cpp).
  static BpeModel from_scores(const Vocabulary& vocabulary, BpeSettings settings, bool merges_all);

  // Appends the ids of `text`, which must be well-formed UTF-8.
  void encode(std::string_view text, const Vocabulary& vocabulary, WordCache& cache,
              std::vector<std::int32_t>& ids) const;

  const MergeTable& merges() const noexcept { return merges_; }
  const BpeSettings& settings() const noexcept { return settings_; }
  // Symbols that are tokens; others are characters that occur in tokens only.
  bool is_token(Symbol symbol) const noexcept { return symbol < num_tokens_; }

 private:
  struct Word;
  void encode_word(std::string_view word, const Vocabulary& vocabulary, std::vector<std::int32_t>& ids) const;
  void add_character(std::string_view character, std::string_view spelled, const Vocabulary& vocabulary,
                     Word& word) const;
  void merge(Word& word) const;
  void append_symbol(const Word& word, Symbol symbol, std::string_view text, const Vocabulary& vocabulary,
                     std::vector<std::int32_t>& ids) const;
  bool append_bytes(std::string_view text, const Vocabulary& vocabulary, std::vector<std::int32_t>& ids) const;
  bool cuts_before_space(const Vocabulary& vocabulary) const;

  MergeTable merges_;
  BpeSettings settings_;
  std::size_t num_tokens_ = 0;
  std::unordered_map<std::string, Symbol> characters_;  // symbols that are no tokens
  bool has_unused_ = false;
  // No merge joins a visible space to what stands before it, so text may be cut there without changing a single id.
  bool cuts_before_space_ = false;
};

}  // namespace nibble::tokenizing
