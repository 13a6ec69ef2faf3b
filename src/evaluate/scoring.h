// SPDX-License-Identifier: Apache-2.0
//
// Walks windows through a model and hands out the logits of the scored positions, a bounded number at a time. Internal
// to evaluate/.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/decoder.h"
#include "evaluate/windows.h"

namespace nibble {

// Error(corrupt): the logits of `which` are not finite at a token.
[[noreturn]] void refuse_logits(const char* which, std::size_t window, std::size_t position);

// One model's place in a window.
class WindowScorer {
 public:
  WindowScorer(Decoder& decoder, std::size_t context) : decoder_(decoder), cache_(decoder.new_cache(context)) {}

  // Starts a window at its first token. `windows` must outlive the window.
  void begin(const Windows& windows, std::size_t window);
  // The next `count` tokens go through the model. No logits are made.
  void skip(std::size_t count, const StreamVisitor& visitor = {});
  // The next `count` tokens go through the model, and what follows each is predicted: logits [count, vocab_size].
  void next(std::size_t count, std::span<float> logits, const StreamVisitor& visitor = {});

 private:
  Decoder& decoder_;
  KvCache cache_;
  const Windows* windows_ = nullptr;
  std::size_t window_ = 0, position_ = 0;
};

// How many predictions at a time keep a model's logits within 64 MiB.
std::size_t predictions_at_once(std::uint64_t vocab_size, const Windows& windows);

}  // namespace nibble
