// SPDX-License-Identifier: Apache-2.0
#include "serve/held_sequences.h"

#include <utility>

namespace nibble::serve {

HeldSequences::Taken HeldSequences::take(std::span<const std::int32_t> prompt) {
  if (held_.empty()) return {};
  auto best = held_.end();
  std::size_t longest = 0;
  for (auto one = held_.begin(); one != held_.end(); ++one)
    if (const std::size_t common = one->common(prompt); common > longest) {
      best = one;
      longest = common;
    }
  if (best == held_.end()) return {.sequence = {}, .reuse = PrefixReuse::nothing_in_common};
  // A prompt that is there whole costs no reading, whatever is given up for it.
  if (longest < prompt.size() && longest < best->tokens().size() - longest)
    return {.sequence = {}, .reuse = PrefixReuse::too_little};
  bytes_ -= best->cache().resident_bytes();
  Taken taken{.sequence = std::move(*best), .reuse = PrefixReuse::reused};
  held_.erase(best);
  if (taken.sequence->keep_common(prompt) == 0) taken.reuse = PrefixReuse::nothing_in_common;
  return taken;
}

void HeldSequences::keep(RememberedSequence sequence) {
  if (most_ == 0 || sequence.tokens().empty()) return;
  if (held_.size() == most_) drop_oldest();
  bytes_ += sequence.cache().resident_bytes();
  held_.push_back(std::move(sequence));
}

bool HeldSequences::drop_oldest() {
  if (held_.empty()) return false;
  bytes_ -= held_.front().cache().resident_bytes();
  held_.pop_front();
  return true;
}

}  // namespace nibble::serve
