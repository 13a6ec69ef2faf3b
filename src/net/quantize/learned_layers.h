// SPDX-License-Identifier: Apache-2.0
//
// What is asked of rounding that is learned layer by layer (adaptive_rounding.h), and what came of it. Plain values.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nibble {

struct AdaptiveRoundingOptions {
  std::uint64_t steps = 1000;
  std::uint64_t batch = 512;  // tokens in a step
  double rate = 0.01;         // of Adam
  std::uint64_t seed = 1;     // of the order in which tokens come
};

// Layers whose rounding was learned, and those of them that took it.
struct LearnedLayers {
  std::size_t learned = 0, taken = 0;
};

}  // namespace nibble
