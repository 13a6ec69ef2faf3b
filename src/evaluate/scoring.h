// SPDX-License-Identifier: Apache-2.0
//
// Walks windows through a model and hands out the logits of the scored positions, a bounded number at a time. Internal to evaluate/.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "evaluate/windows.h"
#include "model/decoder.h"

namespace nibble {

// log(sum(exp(x))) in double. Not finite when a value is NaN or infinite.
double log_sum_exp_of(std::span<const float> x);

// Error(corrupt): the logits of `which` are not finite at a token.
[[noreturn]] void refuse_logits(const char* which, std::size_t window, std::size_t position);

// One model's place in a window.
class WindowScorer {
 public:
  WindowScorer(Decoder& decoder, const Windows& windows);

  // Starts a window: everything before the first prediction goes through the model, no logits are made.
  void begin(std::size_t window);
  // Logits [count, vocab_size] of the next `count` predictions of this window.
  std::span<const float> next(std::size_t count);

 private:
  Decoder& decoder_;
  const Windows& windows_;
  KvCache cache_;
  std::vector<float> logits_;
  std::size_t window_ = 0, position_ = 0;
};

// How many predictions at a time keep a model's logits within 64 MiB.
std::size_t predictions_at_once(std::uint64_t vocab_size, const Windows& windows);

}  // namespace nibble
