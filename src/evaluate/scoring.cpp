// SPDX-License-Identifier: Apache-2.0
#include "evaluate/scoring.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "nibble/error.h"

namespace nibble {

double log_sum_exp_of(std::span<const float> x) {
  const double maximum = static_cast<double>(*std::max_element(x.begin(), x.end()));
  double sum = 0;
  for (const float value : x) sum += std::exp(static_cast<double>(value) - maximum);
  return maximum + std::log(sum);
}

void refuse_logits(const char* which, std::size_t window, std::size_t position) {
  throw Error(ErrorKind::corrupt, fmt::format("the logits of the {} are not finite, so its weights overflow: window {}, position {}", which, window,
                                              position));
}

WindowScorer::WindowScorer(Decoder& decoder, const Windows& windows)
    : decoder_(decoder), windows_(windows), cache_(decoder.new_cache(windows.context)) {}

void WindowScorer::begin(std::size_t window) {
  window_ = window;
  position_ = windows_.first_scored - 1;
  cache_.truncate(0);
  decoder_.forward_from(cache_, windows_.window(window).first(position_), position_, {});
}

std::span<const float> WindowScorer::next(std::size_t count) {
  logits_.resize(count * decoder_.config().vocab_size);
  decoder_.forward(cache_, windows_.window(window_).subspan(position_, count), LogitsFor::all, logits_);
  position_ += count;
  return logits_;
}

std::size_t predictions_at_once(std::uint64_t vocab_size, const Windows& windows) {
  constexpr std::uint64_t kMaxLogits = (64u << 20) / sizeof(float);
  return static_cast<std::size_t>(std::clamp<std::uint64_t>(kMaxLogits / vocab_size, 1, windows.scored_per_window()));
}

}  // namespace nibble
