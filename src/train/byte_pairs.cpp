// SPDX-License-Identifier: Apache-2.0
#include "train/byte_pairs.h"

#include <algorithm>
#include <unordered_map>

#include "base/utf8.h"

namespace nibble {
namespace {

using Id = std::uint32_t;
using Pair = std::pair<Id, Id>;

struct PairHash {
  std::size_t operator()(const Pair& pair) const noexcept {
    return static_cast<std::size_t>((std::uint64_t{pair.first} << 32 | pair.second) * 0x9e3779b97f4a7c15u >> 16);
  }
};

struct Word {
  std::vector<Id> symbols;
  std::int64_t count = 0;
};

// A pair that may be merged, as often as it stood in the words when it was put into the queue.
struct Candidate {
  std::int64_t count = 0;
  Pair pair;
  std::vector<std::uint32_t> words;  // that may hold it, each once

  // The queue gives the greatest first.
  bool operator<(const Candidate& other) const noexcept {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

class Learner {
 public:
  Learner(const std::map<std::string, std::uint64_t>& words, std::vector<std::string> tokens)
      : tokens_(std::move(tokens)) {
    for (Id id = 0; id < tokens_.size(); ++id) ids_.emplace(tokens_[id], id);
    for (const auto& [text, count] : words) {
      Word word{{}, static_cast<std::int64_t>(count)};
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at;
        next_code_point(text, at);
        word.symbols.push_back(ids_.at(text.substr(begin, at - begin)));
      }
      words_.push_back(std::move(word));
    }
    for (std::uint32_t w = 0; w < words_.size(); ++w)
      for (std::size_t i = 1; i < words_[w].symbols.size(); ++i)
        add({words_[w].symbols[i - 1], words_[w].symbols[i]}, words_[w].count, w);
    enqueue_changed();
  }

  BytePairs learn(std::size_t size) {
    BytePairs result;
    while (tokens_.size() < size && !queue_.empty()) {
      std::pop_heap(queue_.begin(), queue_.end());
      Candidate best = std::move(queue_.back());
      queue_.pop_back();
      if (const std::int64_t count = counts_[best.pair]; count != best.count) {  // merges since have changed it
        best.count = count;
        enqueue(std::move(best));
        continue;
      }
      if (best.count < 1) break;
      result.merges.push_back(best.pair);
      const Id made = token_of(tokens_[best.pair.first] + tokens_[best.pair.second]);
      for (const std::uint32_t word : best.words) merge(word, best.pair, made);
      enqueue_changed();
    }
    result.tokens = std::move(tokens_);
    return result;
  }

 private:
  Id token_of(const std::string& text) {
    const auto [found, is_new] = ids_.emplace(text, static_cast<Id>(tokens_.size()));
    if (is_new) tokens_.push_back(text);
    return found->second;
  }

  void add(const Pair& pair, std::int64_t count, std::uint32_t word) {
    counts_[pair] += count;
    if (count <= 0) return;
    std::vector<std::uint32_t>& words = changed_[pair];
    if (words.empty() || words.back() != word) words.push_back(word);  // words come one after the other
  }

  void merge(std::uint32_t index, const Pair& pair, Id made) {
    Word& word = words_[index];
    std::vector<Id>& symbols = word.symbols;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      if (symbols[i] != pair.first || symbols[i + 1] != pair.second) continue;
      if (i > 0) {
        add({symbols[i - 1], pair.first}, -word.count, index);
        add({symbols[i - 1], made}, word.count, index);
      }
      symbols[i] = made;
      symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(i + 1));
      if (i + 1 < symbols.size()) {
        add({pair.second, symbols[i + 1]}, -word.count, index);
        add({made, symbols[i + 1]}, word.count, index);
      }
    }
  }

  void enqueue_changed() {
    for (auto& [pair, words] : changed_)
      if (const std::int64_t count = counts_[pair]; count > 0) enqueue({count, pair, std::move(words)});
    changed_.clear();
  }

  void enqueue(Candidate candidate) {
    queue_.push_back(std::move(candidate));
    std::push_heap(queue_.begin(), queue_.end());
  }

  std::vector<std::string> tokens_;
  std::unordered_map<std::string, Id> ids_;
  std::vector<Word> words_;
  std::unordered_map<Pair, std::int64_t, PairHash> counts_;
  std::unordered_map<Pair, std::vector<std::uint32_t>, PairHash> changed_;
  std::vector<Candidate> queue_;  // a heap
};

}  // namespace

BytePairs learn_byte_pairs(const std::map<std::string, std::uint64_t>& words, std::vector<std::string> tokens,
                           std::size_t size) {
  return Learner(words, std::move(tokens)).learn(size);
}

}  // namespace nibble
