// SPDX-License-Identifier: Apache-2.0
//
// Tokens that are looked for in the text itself, before the model sees it: control tokens ("<|end_of_text|>") and
// user-defined ones. The leftmost match wins, the longest of those. Immutable after construction, safe from many
// threads.
//
//   AddedTokens added({{.id = 2, .content = "</s>", .special = true}});
//   for (const Section& section : added.cut("a</s>b", AddedTokens::Stage::raw, true)) ...
#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace nibble::tokenizing {

struct AddedToken {
  std::int32_t id = 0;
  std::string content;
  std::string matched;       // what is looked for; empty: the content itself
  bool special = false;      // recognised only when asked for
  bool normalized = false;   // looked for in normalised text instead of raw text
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space behind it
  bool single_word = false;  // only where no letter, digit or underscore touches it
};

struct Section {
  std::string_view text;
  std::int32_t id = -1;  // of the added token; -1: ordinary text
};

class AddedTokens {
 public:
  enum class Stage { raw, normalized };

  AddedTokens() = default;
  explicit AddedTokens(std::vector<AddedToken> tokens);

  // The sections of `text` in order, none of them empty. Views into `text`.
  std::vector<Section> cut(std::string_view text, Stage stage, bool parse_special) const;

  const std::vector<AddedToken>& tokens() const noexcept { return tokens_; }
  bool empty(Stage stage) const noexcept { return tries_[static_cast<std::size_t>(stage)].firsts.none(); }

 private:
  struct Trie {
    std::unordered_map<std::uint64_t, std::uint32_t> edges;
    std::vector<std::int32_t> token_at{-1};  // index into tokens_
    std::bitset<256> firsts;                 // bytes that some token begins with
    void add(std::string_view text, std::int32_t token);
    std::int32_t longest(std::string_view text, std::size_t& size) const;
  };

  std::vector<AddedToken> tokens_;
  std::array<Trie, 2> tries_;
};

}  // namespace nibble::tokenizing
