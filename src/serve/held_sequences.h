// SPDX-License-Identifier: Apache-2.0
//
// Sequences whose requests are done: what a new text has in common with one of them is not read again. One thread.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <span>

#include "engine/remembered_sequence.h"
#include "serve/generation.h"

namespace nibble::serve {

class HeldSequences {
 public:
  explicit HeldSequences(std::size_t most) : most_(most) {}

  std::size_t count() const noexcept { return held_.size(); }
  std::uint64_t resident_bytes() const noexcept { return bytes_; }

  struct Taken {
    std::optional<RememberedSequence> sequence;
    PrefixReuse reuse = PrefixReuse::nothing_held;
  };
  // The one that has most in common with prompt, gone back to that, provided that as much or more of it is kept as is
  // given up: a text that only begins alike is better read again than paid for with another's.
  Taken take(std::span<const std::int32_t> prompt);
  void keep(RememberedSequence sequence);  // as the one used last
  bool drop_oldest();                      // false: there is none

 private:
  std::size_t most_;
  std::uint64_t bytes_ = 0;
  std::list<RememberedSequence> held_;  // the one used last is the last
};

}  // namespace nibble::serve
