// SPDX-License-Identifier: Apache-2.0
//
// How fast a model runs, by llama-bench's conventions: ppN reads N random tokens into an empty cache in one go, tgN
// makes N tokens one at a time from an empty cache, tgNxB makes N for each of B sequences side by side, all of them
// counted. "@ dD" behind it: behind D tokens that are in the cache already. Each test is run once to warm up and then
// repeated.
//
//   for (const Speed& s : measure_speed(decoder, {.prompt_tokens = 512, .generated_tokens = 32})) print(s.test,
//   s.tokens_per_second);
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "engine/decoder.h"
#include "nibble/progress.h"

namespace nibble {

struct SpeedOptions {
  std::size_t prompt_tokens = 512;     // 0: no such test
  std::size_t generated_tokens = 128;  // 0: no such test
  std::size_t sequences = 1;           // above 1: generation of that many at once is tested, too
  std::size_t depth = 0;               // positions filled before each test, with random keys and values
  std::size_t repetitions = 5;
  double least_seconds = 0;  // of all repetitions; there are more of them until then
  bool warm_up = true;
  std::function<double()> joules = {};  // that the machine has used until now; none: not measured
  ProgressCallback progress = {};       // stage "bench", in runs
};

struct Speed {
  std::string test;        // "pp512", "tg128", "tg128x8", "tg32 @ d8192"
  std::size_t tokens = 0;  // of all sequences
  std::size_t sequences = 1;
  double tokens_per_second = 0;    // median of the samples
  double spread = 0;               // their standard deviation
  std::vector<double> samples;     // tokens per second of each repetition
  double seconds = 0;              // of all repetitions
  std::optional<double> joules{};  // of all repetitions
};

// Error(invalid_argument): no repetitions, no or more than 1024 sequences. Error(cancelled).
std::vector<Speed> measure_speed(Decoder& decoder, const SpeedOptions& options);

// Median and standard deviation (n - 1) of the samples, filled in.
void summarise_samples(Speed& speed);

}  // namespace nibble
