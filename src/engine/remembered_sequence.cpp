// SPDX-License-Identifier: Apache-2.0
#include "engine/remembered_sequence.h"

#include <algorithm>

namespace nibble {

void RememberedSequence::clear() noexcept {
  cache_.clear();
  tokens_.clear();
  points_.clear();
}

std::size_t RememberedSequence::common(std::span<const std::int32_t> ids) const noexcept {
  return static_cast<std::size_t>(std::ranges::mismatch(tokens_, ids).in1 - tokens_.begin());
}

std::size_t RememberedSequence::keep_common(std::span<const std::int32_t> ids) {
  go_back(std::min(common(ids), ids.empty() ? 0 : ids.size() - 1));
  return cache_.length();
}

// To this length or, where the network needs points, the last one before it.
void RememberedSequence::go_back(std::size_t length) {
  if (cache_.needs_points() && length < cache_.length()) {
    std::erase_if(points_, [&](const SavedPoint& point) { return point.length() > length; });
    if (points_.empty())
      cache_.clear();
    else
      cache_.restore(points_.back());
  } else {
    cache_.go_back(std::min(length, cache_.length()));
    std::erase_if(points_, [&](const SavedPoint& point) { return point.length() > cache_.length(); });
  }
  tokens_.resize(std::min(tokens_.size(), cache_.length()));
}

void RememberedSequence::save_point() {
  if (points_.size() == kMostPoints) points_.erase(points_.begin());
  points_.push_back(cache_.save());
}

void RememberedSequence::remember(std::span<const std::int32_t> ids) {
  const std::span<const std::int32_t> held = ids.first(cache_.length());
  tokens_.assign(held.begin(), held.end());
}

}  // namespace nibble
