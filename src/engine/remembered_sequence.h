// SPDX-License-Identifier: Apache-2.0
//
// A sequence whose tokens are known, so that of another text only what comes after their common beginning is read. One
// thread at a time.
//
//   RememberedSequence sequence(decoder.new_cache(4096));
//   const std::size_t kept = sequence.keep_common(ids);
//   const SequenceStep rest{&sequence.cache(), std::span(ids).subspan(kept)};
//   decoder.step({&rest, 1}, logits);
//   sequence.remember(ids);
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "engine/decoder.h"

namespace nibble {

class RememberedSequence {
 public:
  // Points to go back to that are kept of a network with recurrent states, each with a copy of them.
  static constexpr std::size_t kMostPoints = 2;
  // Where such a network should save one: a text goes on where the last prompt ended, but for the words that begin an
  // answer, which the next prompt may have otherwise.
  static constexpr std::size_t kAnswerBeginning = 32;

  // cache: empty.
  explicit RememberedSequence(KvCache cache) : cache_(std::move(cache)) {}

  KvCache& cache() noexcept { return cache_; }
  const KvCache& cache() const noexcept { return cache_; }
  const std::vector<std::int32_t>& tokens() const noexcept { return tokens_; }

  // How many tokens ids and this sequence begin with alike.
  std::size_t common(std::span<const std::int32_t> ids) const noexcept;
  // Goes back to what ids begin with, but for their last token, whose logits are still to be made, and to less where
  // the network cannot go back to there. How many of ids need not be read again.
  std::size_t keep_common(std::span<const std::int32_t> ids);
  void go_back(std::size_t length);
  // A point to go back to, of networks that need them.
  void save_point();
  // ids: what the cache has been given from its beginning on, and maybe more behind it.
  void remember(std::span<const std::int32_t> ids);
  void clear() noexcept;

 private:
  KvCache cache_;
  std::vector<std::int32_t> tokens_;  // whose keys and values the cache has
  std::vector<SavedPoint> points_;    // the latest last
};

}  // namespace nibble
