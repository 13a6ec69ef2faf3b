// SPDX-License-Identifier: Apache-2.0
//
// Which pairs of neighbouring symbols a tokenizer merges, learned from words and how often each occurs: the most
// frequent pair becomes a symbol, again and again (Gage 1994; Sennrich et al. 2016, arXiv:1508.07909). Choices among
// equals are those of the Hugging Face tokenizers library, so that the merges are the same: the pair of the lower ids
// first.
//
//   BytePairs pairs = learn_byte_pairs(words, {"<s>", "a", "b", ...}, 3072);
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace nibble {

struct BytePairs {
  std::vector<std::string> tokens;  // by id: those given, then what merges made
  std::vector<std::pair<std::uint32_t, std::uint32_t>> merges;
};

// Words are spelled in characters, every one of which is among the given tokens. Ends with `size` tokens, or fewer
// where the words have no more pairs.
BytePairs learn_byte_pairs(const std::map<std::string, std::uint64_t>& words, std::vector<std::string> tokens,
                           std::size_t size);

}  // namespace nibble
