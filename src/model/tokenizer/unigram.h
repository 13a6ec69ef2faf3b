// SPDX-License-Identifier: Apache-2.0
//
// Unigram language model encoding (SentencePiece type UNIGRAM, tokenizer.json type Unigram): the cut of a text whose
// pieces' log probabilities have the greatest sum, by Viterbi over a trie. Kudo 2018, "Subword Regularization".
// Immutable after construction, safe from many threads.
//
//   const UnigramModel model(vocabulary, {.unknown = 0});
//   model.encode("▁Hello", vocabulary, ids);
#pragma once

#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "model/tokenizer/vocabulary.h"

namespace nibble::tokenizing {

struct UnigramSettings {
  std::int32_t unknown = 0;  // -1: unknown characters vanish
  bool byte_fallback = false;
  bool prefers_user_defined = false;  // SentencePiece: a user-defined piece beats any cut of the same text
};

class UnigramModel {
 public:
  UnigramModel() = default;
  // Pieces are the tokens of kind normal and user_defined.
  UnigramModel(const Vocabulary& vocabulary, UnigramSettings settings);

  // Appends the ids of `text`, which must be well-formed UTF-8. Neighbouring unknown characters become one unknown
  // token.
  void encode(std::string_view text, const Vocabulary& vocabulary, std::vector<std::int32_t>& ids) const;

  const UnigramSettings& settings() const noexcept { return settings_; }

 private:
  struct Node {
    std::int32_t id = -1;
    float score = 0;
  };
  static std::uint64_t edge(std::uint32_t node, char byte) noexcept {
    return std::uint64_t{node} << 8 | static_cast<std::uint8_t>(byte);
  }

  UnigramSettings settings_;
  float unknown_score_ = 0;
  std::vector<Node> nodes_;
  std::unordered_map<std::uint64_t, std::uint32_t> edges_;
};

}  // namespace nibble::tokenizing
