// SPDX-License-Identifier: Apache-2.0
#include "model/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cmath>

#include "nibble/error.h"

namespace nibble {

namespace {

void check(const char* option, double value, double minimum, double maximum) {
  if (!(value >= minimum && value <= maximum))
    throw Error(ErrorKind::invalid_argument,
                fmt::format("{} must lie between {} and {}: {}", option, minimum, maximum, value));
}

// Relative to the largest, so that nothing overflows; candidates come sorted.
template <class Candidates>
void fill_probabilities(const Candidates& candidates, double temperature, std::vector<double>& out) {
  out.resize(candidates.size());
  for (std::size_t i = 0; i < out.size(); ++i)
    out[i] = std::exp((static_cast<double>(candidates[i].logit) - static_cast<double>(candidates.front().logit)) /
                      temperature);
}

}  // namespace

Sampler::Sampler(const SamplerOptions& options) : options_(options), random_(options.seed) {
  check("temperature", options.temperature, 0, 1000);
  check("top-p", options.top_p, 0, 1);
  check("min-p", options.min_p, 0, 1);
  check("repetition penalty", options.repetition_penalty, 0.01, 100);
}

void Sampler::penalise(std::span<const std::int32_t> history) {
  if (options_.repetition_penalty == 1) return;
  const std::size_t window =
      options_.repetition_window == 0 ? history.size() : std::min(options_.repetition_window, history.size());
  std::vector<std::int32_t> seen(history.end() - static_cast<std::ptrdiff_t>(window), history.end());
  std::sort(seen.begin(), seen.end());
  seen.erase(std::unique(seen.begin(), seen.end()), seen.end());
  const float penalty = static_cast<float>(options_.repetition_penalty);
  for (const std::int32_t id : seen) {
    float& logit = logits_[static_cast<std::size_t>(id)];
    logit = logit > 0 ? logit / penalty : logit * penalty;
  }
}

void Sampler::keep_largest() {
  const auto before = [](const Candidate& a, const Candidate& b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
  };
  candidates_.resize(logits_.size());
  for (std::size_t i = 0; i < logits_.size(); ++i) candidates_[i] = {logits_[i], static_cast<std::int32_t>(i)};
  const std::size_t keep = options_.top_k == 0 ? candidates_.size() : std::min(options_.top_k, candidates_.size());
  std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(keep), candidates_.end(),
                    before);
  candidates_.resize(keep);
}

void Sampler::keep_probable() {
  fill_probabilities(candidates_, 1, probabilities_);
  double total = 0;
  for (const double p : probabilities_) total += p;
  std::size_t keep = candidates_.size();
  if (options_.top_p < 1) {
    double sum = 0;
    keep = 0;
    while (keep < candidates_.size() && sum < options_.top_p * total) sum += probabilities_[keep++];
    keep = std::max<std::size_t>(keep, 1);
  }
  while (keep > 1 && probabilities_[keep - 1] < options_.min_p) --keep;  // the largest has 1
  candidates_.resize(keep);
}

std::int32_t Sampler::choose(std::span<const float> logits, std::span<const std::int32_t> history) {
  assert(!logits.empty());
  logits_.assign(logits.begin(), logits.end());
  for (std::size_t i = 0; i < logits_.size(); ++i)
    if (std::isnan(logits_[i]) || logits_[i] == INFINITY)
      throw Error(
          ErrorKind::corrupt,
          fmt::format("the model's logits are not finite, so its weights overflow; token {}: {}", i, logits_[i]));
  penalise(history);
  if (options_.temperature == 0)
    return static_cast<std::int32_t>(std::max_element(logits_.begin(), logits_.end()) -
                                     logits_.begin());  // the first of equals
  keep_largest();
  keep_probable();
  fill_probabilities(candidates_, options_.temperature, probabilities_);
  double total = 0;
  for (const double p : probabilities_) total += p;
  double rest = random_.uniform() * total;
  for (std::size_t i = 0; i + 1 < candidates_.size(); ++i) {
    rest -= probabilities_[i];
    if (rest < 0) return candidates_[i].id;
  }
  return candidates_.back().id;
}

}  // namespace nibble
