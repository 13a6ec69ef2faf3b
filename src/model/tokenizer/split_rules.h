// SPDX-License-Identifier: Apache-2.0
//
// The split rules that llama.cpp knows by name (tokenizer.ggml.pre): their regular expressions, which are facts of the
// models that were trained with them. One table serves reading GGUF, writing GGUF and naming what a tokenizer.json
// says. Pure functions, safe from many threads.
//
//   const SplitRule* rule = split_rule("llama-bpe");
//   for (const SplitRule* rule : matching_split_rules(pre_tokenizer)) ...   // none: llama.cpp has no such rule
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/tokenizer/pre_tokenizer.h"

namespace nibble::tokenizing {

// The expression of GPT-2, and of ByteLevel with use_regex.
inline constexpr std::string_view kGpt2Split =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

struct SplitRule {
  std::vector<std::string_view> ids;  // llama.cpp's names; the first one is written
  // Expressions applied one after the other, each isolating its matches. The first spelling is read from GGUF by; the
  // others are what tokenizer.json files say for the same rule.
  std::vector<std::vector<std::string_view>> spellings;
  bool ignore_merges = false;  // llama.cpp takes a word that is a token as it is
  bool add_bos = false;        // when the file does not say
};

std::span<const SplitRule> split_rules();
const SplitRule* split_rule(
    std::string_view id);  // null: llama.cpp's list does not have it, or it is not supported here

// The pre-tokenizer of a byte-level tokenizer with this rule.
PreTokenizer pre_tokenizer_of(const SplitRule& rule, const std::string& place);

// The rules with the expressions that `steps` isolate, in the table's order.
std::vector<const SplitRule*> matching_split_rules(const PreTokenizer& steps);

}  // namespace nibble::tokenizing
