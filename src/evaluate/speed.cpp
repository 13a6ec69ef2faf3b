// SPDX-License-Identifier: Apache-2.0
#include "evaluate/speed.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/progress_meter.h"
#include "base/random.h"
#include "nibble/error.h"

namespace nibble {

namespace {

std::vector<std::int32_t> random_tokens(std::size_t count, std::uint64_t vocab_size) {
  Random random(1);
  std::vector<std::int32_t> tokens(count);
  for (std::int32_t& token : tokens) token = static_cast<std::int32_t>(random.below(vocab_size));
  return tokens;
}

double seconds(std::chrono::steady_clock::time_point from) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - from).count();
}

}  // namespace

void summarise_samples(Speed& speed) {
  std::vector<double> sorted = speed.samples;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t n = sorted.size();
  speed.tokens_per_second = n % 2 == 1 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
  double mean = 0, squares = 0;
  for (const double s : sorted) mean += s / static_cast<double>(n);
  for (const double s : sorted) squares += (s - mean) * (s - mean);
  speed.spread = n > 1 ? std::sqrt(squares / static_cast<double>(n - 1)) : 0;
}

std::vector<Speed> measure_speed(Decoder& decoder, const SpeedOptions& options) {
  if (options.repetitions == 0) throw Error(ErrorKind::invalid_argument, "a speed needs at least one repetition: 0");
  const std::size_t longest = std::max(options.prompt_tokens, options.generated_tokens);
  if (longest == 0) return {};
  const std::vector<std::int32_t> tokens = random_tokens(longest, decoder.config().vocab_size);
  std::vector<float> logits(decoder.config().vocab_size);
  KvCache cache = decoder.new_cache(longest);

  const auto read_prompt = [&](std::size_t count) { decoder.forward(cache, std::span(tokens).first(count), LogitsFor::last, logits); };
  const auto make_tokens = [&](std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) decoder.forward(cache, std::span(tokens).subspan(i, 1), LogitsFor::last, logits);
  };

  const std::size_t num_tests = (options.prompt_tokens > 0 ? 1 : 0) + (options.generated_tokens > 0 ? 1 : 0);
  ProgressMeter meter(options.progress, "bench", num_tests * options.repetitions);
  std::uint64_t done = 0;
  std::vector<Speed> speeds;
  const auto run = [&](const std::string& test, std::size_t count, const auto& pass) {
    if (count == 0) return;
    Speed speed;
    speed.test = test + std::to_string(count);
    speed.tokens = count;
    if (options.warm_up) {
      // llama-bench warms prompts up with the whole prompt and generation with one token.
      cache.truncate(0);
      pass(test == "pp" ? count : std::size_t{1});
    }
    for (std::size_t i = 0; i < options.repetitions; ++i) {
      meter.report(done++, speed.test);
      cache.truncate(0);
      const auto start = std::chrono::steady_clock::now();
      pass(count);
      speed.samples.push_back(static_cast<double>(count) / seconds(start));
    }
    summarise_samples(speed);
    speeds.push_back(std::move(speed));
  };
  run("pp", options.prompt_tokens, read_prompt);
  run("tg", options.generated_tokens, make_tokens);
  meter.report(done);
  return speeds;
}

}  // namespace nibble
