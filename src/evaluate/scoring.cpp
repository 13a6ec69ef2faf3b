// SPDX-License-Identifier: Apache-2.0
#include "evaluate/scoring.h"

#include <fmt/format.h>

#include <algorithm>

#include "nibble/error.h"

namespace nibble {

void refuse_logits(const char* which, std::size_t window, std::size_t position) {
  throw Error(ErrorKind::corrupt,
              fmt::format("the logits of the {} are not finite, so its weights overflow: window {}, position {}", which,
                          window, position));
}

void WindowScorer::begin(const Windows& windows, std::size_t window) {
  windows_ = &windows;
  window_ = window;
  position_ = 0;
  cache_.clear();
}

void WindowScorer::skip(std::size_t count, const StreamVisitor& visitor) {
  decoder_.forward_from(cache_, windows_->window(window_).subspan(position_, count), count, {}, visitor);
  position_ += count;
}

void WindowScorer::next(std::size_t count, std::span<float> logits, const StreamVisitor& visitor) {
  decoder_.forward_from(cache_, windows_->window(window_).subspan(position_, count), 0, logits, visitor);
  position_ += count;
}

std::size_t predictions_at_once(std::uint64_t vocab_size, const Windows& windows) {
  constexpr std::uint64_t kMaxLogits = (64u << 20) / sizeof(float);
  return static_cast<std::size_t>(std::clamp<std::uint64_t>(kMaxLogits / vocab_size, 1, windows.scored_per_window()));
}

}  // namespace nibble
