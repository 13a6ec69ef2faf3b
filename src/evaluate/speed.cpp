// SPDX-License-Identifier: Apache-2.0
#include "evaluate/speed.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/elapsed.h"
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
  if (options.sequences == 0 || options.sequences > 1024)
    throw Error(ErrorKind::invalid_argument,
                "sequences at once must be 1 to 1024: " + std::to_string(options.sequences));
  const std::size_t longest = std::max(options.prompt_tokens, options.generated_tokens);
  if (longest == 0) return {};
  const std::vector<std::int32_t> tokens = random_tokens(longest, decoder.config().vocab_size);
  std::vector<float> logits(decoder.config().vocab_size * options.sequences);
  std::vector<KvCache> caches;
  for (std::size_t i = 0; i < options.sequences; ++i)
    caches.push_back(decoder.new_cache(options.depth + (i == 0 ? longest : options.generated_tokens)));
  for (KvCache& cache : caches) decoder.fill(cache, options.depth);

  const auto read_prompt = [&](std::size_t count, std::size_t) {
    decoder.forward(caches[0], std::span(tokens).first(count), LogitsFor::last,
                    std::span(logits).first(decoder.config().vocab_size));
  };
  std::vector<SequenceStep> steps;
  const auto make_tokens = [&](std::size_t count, std::size_t sequences) {
    for (std::size_t i = 0; i < count; ++i) {
      steps.clear();
      for (std::size_t s = 0; s < sequences; ++s)
        steps.push_back({&caches[s], std::span(tokens).subspan((i + s) % longest, 1)});
      decoder.step(steps, std::span(logits).first(sequences * decoder.config().vocab_size));
    }
  };

  const std::size_t num_tests =
      (options.prompt_tokens > 0 ? 1 : 0) + (options.generated_tokens > 0 ? options.sequences > 1 ? 2 : 1 : 0);
  ProgressMeter meter(options.progress, "bench", num_tests * options.repetitions);
  std::uint64_t done = 0;
  std::vector<Speed> speeds;
  std::vector<SavedPoint> begins;
  for (KvCache& cache : caches) begins.push_back(cache.save());
  const auto start_afresh = [&] {
    for (std::size_t s = 0; s < caches.size(); ++s) caches[s].restore(begins[s]);
  };
  const auto run = [&](const std::string& test, std::size_t count, std::size_t sequences, const auto& pass) {
    if (count == 0) return;
    Speed speed;
    speed.test = test + std::to_string(count) + (sequences > 1 ? "x" + std::to_string(sequences) : "") +
                 (options.depth > 0 ? " @ d" + std::to_string(options.depth) : "");
    speed.tokens = count * sequences;
    speed.sequences = sequences;
    if (options.warm_up) {
      // llama-bench warms prompts up with the whole prompt and generation with one token.
      start_afresh();
      pass(test == "pp" ? count : std::size_t{1}, sequences);
    }
    for (std::size_t i = 0; i < options.repetitions || speed.seconds < options.least_seconds; ++i) {
      meter.report(i < options.repetitions ? done++ : done, speed.test);
      start_afresh();
      const auto begin = std::chrono::steady_clock::now();
      const double joules = options.joules ? options.joules() : 0;
      const auto start = std::chrono::steady_clock::now();
      pass(count, sequences);
      const double seconds = seconds_since(start), between_readings = seconds_since(begin);
      if (options.joules) speed.joules = speed.joules.value_or(0) + options.joules() - joules;
      speed.seconds += between_readings;
      speed.samples.push_back(static_cast<double>(speed.tokens) / seconds);
    }
    summarise_samples(speed);
    speeds.push_back(std::move(speed));
  };
  run("pp", options.prompt_tokens, 1, read_prompt);
  run("tg", options.generated_tokens, 1, make_tokens);
  if (options.sequences > 1) run("tg", options.generated_tokens, options.sequences, make_tokens);
  meter.report(done);
  return speeds;
}

}  // namespace nibble
