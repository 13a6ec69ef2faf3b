// SPDX-License-Identifier: Apache-2.0
#include "evaluate/divergence.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/progress_meter.h"
#include "evaluate/scoring.h"
#include "nibble/error.h"

namespace nibble {

namespace {

struct Samples {
  explicit Samples(std::size_t count) : kl(count), nll_original(count), nll_candidate(count), same_top(count) {}
  std::vector<double> kl, nll_original, nll_candidate;
  std::vector<std::uint8_t> same_top;
};

// Mean and the standard error of the mean.
struct Mean {
  double value = 0, error = 0;
};

Mean mean_of(std::span<const double> values) {
  const double n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (const double v : values) sum += v;
  const double mean = sum / n;
  for (const double v : values) squares += (v - mean) * (v - mean);
  return {mean, values.size() > 1 ? std::sqrt(squares / n / (n - 1)) : 0};
}

Divergence summarise(Samples& samples, const Windows& windows) {
  Divergence d;
  d.original = summarise_perplexity(samples.nll_original, windows);
  d.candidate = summarise_perplexity(samples.nll_candidate, windows);
  const Mean kl = mean_of(samples.kl);
  d.kl_mean = kl.value;
  d.kl_standard_error = kl.error;
  std::sort(samples.kl.begin(), samples.kl.end());
  d.kl_p999 = quantile(samples.kl, 0.999);
  d.kl_maximum = samples.kl.back();
  d.top1_agreement = static_cast<double>(std::count(samples.same_top.begin(), samples.same_top.end(), 1)) / static_cast<double>(samples.kl.size());
  std::vector<double> difference(samples.kl.size());
  for (std::size_t i = 0; i < difference.size(); ++i) difference[i] = samples.nll_candidate[i] - samples.nll_original[i];
  const Mean log_ratio = mean_of(difference);
  d.perplexity_ratio = std::exp(log_ratio.value);
  d.perplexity_ratio_standard_error = d.perplexity_ratio * log_ratio.error;
  return d;
}

}  // namespace

double quantile(std::span<const double> values, double share) {
  const double place = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  if (below + 1 >= values.size()) return values.back();
  const double part = place - static_cast<double>(below);
  return (1 - part) * values[below] + part * values[below + 1];
}

PositionDivergence compare_logits(std::span<const float> p, std::span<const float> q) {
  // KL = sum_i p_i (log p_i - log q_i) = sum_i p_i (x_i - y_i) - log_sum_p + log_sum_q, with p_i = exp(x_i - log_sum_p).
  const auto top_p = std::max_element(p.begin(), p.end()), top_q = std::max_element(q.begin(), q.end());
  const double max_p = static_cast<double>(*top_p);
  double sum = 0, weighted = 0;
  for (std::size_t i = 0; i < p.size(); ++i) {
    const double x = static_cast<double>(p[i]), e = std::exp(x - max_p);
    sum += e;
    weighted += e * (x - static_cast<double>(q[i]));
  }
  PositionDivergence result;
  result.log_sum_p = max_p + std::log(sum);
  result.log_sum_q = log_sum_exp_of(q);
  // Rounding can leave a hair below zero, where no divergence can be; NaN must pass through.
  const double kl = weighted / sum - result.log_sum_p + result.log_sum_q;
  result.kl = kl < 0 ? 0 : kl;
  result.same_top = top_p - p.begin() == top_q - q.begin();
  return result;
}

Divergence measure_divergence(Decoder& original, Decoder& candidate, const Windows& windows, const EvaluateOptions& options, ThreadPool& pool) {
  const std::uint64_t vocab = original.config().vocab_size;
  if (candidate.config().vocab_size != vocab)
    throw Error(ErrorKind::invalid_argument, fmt::format("models with vocabularies of different size cannot be compared: original {}, candidate {}",
                                                         vocab, candidate.config().vocab_size));
  const std::size_t scored = windows.scored_per_window(), at_once = predictions_at_once(vocab, windows);
  Samples samples(windows.tokens_scored());
  WindowScorer score_original(original, windows), score_candidate(candidate, windows);
  ProgressMeter meter(options.progress, "evaluate", samples.kl.size());
  meter.report(0);
  for (std::size_t w = 0; w < windows.count; ++w) {
    score_original.begin(w);
    score_candidate.begin(w);
    for (std::size_t begin = 0; begin < scored; begin += at_once) {
      const std::size_t count = std::min(at_once, scored - begin);
      const std::span<const float> p = score_original.next(count), q = score_candidate.next(count);
      const auto targets = windows.window(w).subspan(windows.first_scored + begin, count);
      pool.parallel_for(count, 4, [&](std::size_t first, std::size_t last, std::size_t) {
        for (std::size_t i = first; i < last; ++i) {
          const auto row_p = p.subspan(i * vocab, vocab), row_q = q.subspan(i * vocab, vocab);
          const PositionDivergence here = compare_logits(row_p, row_q);
          const std::size_t target = static_cast<std::size_t>(targets[i]), place = w * scored + begin + i;
          if (!std::isfinite(here.log_sum_p)) refuse_logits("original", w, windows.first_scored + begin + i);
          if (!std::isfinite(here.kl) || !std::isfinite(here.log_sum_q)) refuse_logits("candidate", w, windows.first_scored + begin + i);
          samples.kl[place] = here.kl;
          samples.same_top[place] = here.same_top ? 1 : 0;
          samples.nll_original[place] = here.log_sum_p - static_cast<double>(row_p[target]);
          samples.nll_candidate[place] = here.log_sum_q - static_cast<double>(row_q[target]);
        }
      });
      meter.report(w * scored + begin + count);
    }
  }
  return summarise(samples, windows);
}

}  // namespace nibble
