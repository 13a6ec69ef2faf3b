// SPDX-License-Identifier: Apache-2.0
#include "evaluate/perplexity.h"

#include <cmath>

#include "base/progress_meter.h"
#include "evaluate/scoring.h"
#include "kernels/log_probabilities.h"

namespace nibble {

Perplexity summarise_perplexity(std::span<const double> nll, const Windows& windows) {
  Perplexity result;
  result.tokens_scored = nll.size();
  result.windows = windows.count;
  result.context = windows.context;
  result.protocol = windows.protocol;
  const double n = static_cast<double>(nll.size());
  double sum = 0, squares = 0;
  for (const double value : nll) sum += value;
  result.mean_nll = sum / n;
  for (const double value : nll) squares += (value - result.mean_nll) * (value - result.mean_nll);
  result.perplexity = std::exp(result.mean_nll);
  if (nll.size() > 1) result.standard_error = result.perplexity * std::sqrt(squares / n / (n - 1));
  return result;
}

Perplexity measure_perplexity(Decoder& decoder, const Windows& windows, const EvaluateOptions& options, ThreadPool& pool) {
  const std::uint64_t vocab = decoder.config().vocab_size;
  const std::size_t scored = windows.scored_per_window(), at_once = predictions_at_once(vocab, windows);
  std::vector<double> nll(windows.tokens_scored());
  WindowScorer scorer(decoder, windows.context);
  std::vector<float> logits(at_once * vocab);
  const Isa isa = decoder.isa();
  ProgressMeter meter(options.progress, "evaluate", nll.size());
  meter.report(0);
  for (std::size_t w = 0; w < windows.count; ++w) {
    scorer.begin(windows, w);
    for (std::size_t begin = 0; begin < scored; begin += at_once) {
      const std::size_t count = std::min(at_once, scored - begin);
      scorer.next(count, std::span(logits).first(count * vocab));
      const auto targets = windows.window(w).subspan(windows.first_scored + begin, count);
      pool.parallel_for(count, 4, [&](std::size_t first, std::size_t last, std::size_t) {
        for (std::size_t i = first; i < last; ++i) {
          const float* const row = &logits[i * vocab];
          const double value = log_sum_exp(row, vocab, isa).log_sum - static_cast<double>(row[static_cast<std::size_t>(targets[i])]);
          if (!std::isfinite(value)) refuse_logits("model", w, windows.first_scored + begin + i);
          nll[w * scored + begin + i] = value;
        }
      });
      meter.report(w * scored + begin + count);
    }
  }
  return summarise_perplexity(nll, windows);
}

}  // namespace nibble
