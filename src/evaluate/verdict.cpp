// SPDX-License-Identifier: Apache-2.0
#include "evaluate/verdict.h"

#include <algorithm>
#include <cmath>

#include "nibble/error.h"

namespace nibble {

namespace {

// The values of some neighbouring texts, and their blocks.
struct Range {
  std::size_t begin = 0, end = 0;
  Blocks blocks;

  template <class T>
  std::span<const T> of(const std::vector<T>& values) const {
    return std::span(values).subspan(begin, end - begin);
  }
};

Range range_of(const std::vector<MeasuredText>& texts, std::size_t first, std::size_t count, std::size_t scored) {
  Range range;
  std::vector<std::size_t> windows;
  for (std::size_t i = 0; i < first + count; ++i) {
    const std::size_t tokens = texts[i].windows * scored;
    if (i < first) range.begin += tokens;
    range.end += tokens;
    if (i >= first) windows.push_back(texts[i].windows);
  }
  range.blocks = equal_blocks(windows, scored);
  return range;
}

template <class Function>
std::vector<double> mapped(std::size_t count, Function&& function) {
  std::vector<double> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = function(i);
  return values;
}

Figure as_perplexity(const Figure& nll) {
  const double value = std::exp(nll.value);
  return transformed(nll, [](double x) { return std::exp(x); }, value);
}

// The mean of squares as a root. Bounds of a mean of squares cannot lie below 0.
Figure as_root(const Figure& squares) {
  const double value = std::sqrt(squares.value);
  return transformed(squares, [](double x) { return std::sqrt(std::max(0.0, x)); }, value > 0 ? 0.5 / value : 0);
}

// A divergence or a share cannot lie below 0, whatever a studentized bound says; nor a share above 1.
Figure clamped(Figure figure, double highest) {
  for (double* end : {&figure.low, &figure.high, &figure.lower_bound, &figure.upper_bound})
    *end = std::clamp(*end, 0.0, highest);
  return figure;
}

// Of the original, at every position that is judged.
struct OriginalSamples {
  const std::vector<double>& nll;
  const std::vector<std::uint8_t>& right;
};

class Judge {
 public:
  Judge(OriginalSamples original, ThreadPool& pool) : original_(original), pool_(pool) {}

  Figure original_perplexity(const Range& range) const {
    const auto nll = range.of(original_.nll);
    const Blocks blocks = joined_blocks(range.blocks, independent_length(nll, range.blocks));
    return as_perplexity(bootstrap_mean(nll, blocks, options_, pool_));
  }

  MetricFigures figures(const Range& range, const CandidateSamples& samples) const {
    MetricFigures result;
    const std::size_t count = range.end - range.begin;
    const auto kl = range.of(samples.kl), nll = range.of(samples.nll), original = range.of(original_.nll);
    const auto right = range.of(samples.right), original_right = range.of(original_.right),
               top1 = range.of(samples.same_top1), top5 = range.of(samples.same_top5);
    const Blocks nll_blocks = joined_blocks(range.blocks, independent_length(nll, range.blocks));
    result[Metric::perplexity] = as_perplexity(bootstrap_mean(nll, nll_blocks, options_, pool_));

    result.windows_per_block = independent_length(kl, range.blocks);
    const Blocks blocks = joined_blocks(range.blocks, result.windows_per_block);
    result.blocks = blocks.count();
    const auto log_ratio = mapped(count, [&](std::size_t i) { return nll[i] - original[i]; });
    const auto change = mapped(count, [&](std::size_t i) { return std::exp(-nll[i]) - std::exp(-original[i]); });
    const auto squares = mapped(count, [&](std::size_t i) { return change[i] * change[i]; });
    const auto same1 = mapped(count, [&](std::size_t i) { return static_cast<double>(top1[i]); });
    const auto same5 = mapped(count, [&](std::size_t i) { return static_cast<double>(top5[i]) / 5; });
    const auto wrong =
        mapped(count, [&](std::size_t i) { return original_right[i] == 1 && right[i] == 0 ? 1.0 : 0.0; });
    const auto mended =
        mapped(count, [&](std::size_t i) { return original_right[i] == 0 && right[i] == 1 ? 1.0 : 0.0; });
    const std::vector<Figure> means =
        bootstrap_means({kl, log_ratio, change, squares, same1, same5, wrong, mended}, blocks, options_, pool_);
    constexpr double kUnbounded = std::numeric_limits<double>::infinity();
    result[Metric::kl_mean] = clamped(means[0], kUnbounded);
    result[Metric::perplexity_ratio] = as_perplexity(means[1]);
    result[Metric::probability_mean] = means[2];
    result[Metric::probability_rms] = as_root(means[3]);
    result[Metric::top1_agreement] = clamped(means[4], 1);
    result[Metric::top5_agreement] = clamped(means[5], 1);
    result[Metric::flips_to_wrong] = clamped(means[6], 1);
    result[Metric::flips_to_right] = clamped(means[7], 1);
    quantiles(kl, blocks, MetricUnit::nats, result);
    quantiles(change, blocks, MetricUnit::change, result);
    result[Metric::kl_maximum].value = *std::max_element(kl.begin(), kl.end());
    if (result[Metric::kl_maximum].value == 0) state_identity(result);
    return result;
  }

  CandidateContest contest(const Range& range, const CandidateSamples& a, const CandidateSamples& b) const {
    CandidateContest result;
    const std::size_t count = range.end - range.begin;
    const auto kl = mapped(count, [&](std::size_t i) { return a.kl[i] - b.kl[i]; });
    const auto log_ratio = mapped(count, [&](std::size_t i) { return a.nll[i] - b.nll[i]; });
    const auto top1 = mapped(count, [&](std::size_t i) {
      return static_cast<double>(a.same_top1[i]) - static_cast<double>(b.same_top1[i]);
    });
    const Blocks blocks = joined_blocks(range.blocks, independent_length(kl, range.blocks));
    const std::vector<Figure> means = bootstrap_means({kl, log_ratio, top1}, blocks, options_, pool_);
    result.kl_difference = means[0];
    result.perplexity_ratio = as_perplexity(means[1]);
    result.top1_difference = means[2];
    if (std::all_of(kl.begin(), kl.end(), [](double v) { return v == 0; }) && means[1].value == 0)
      result.result = Contest::equal;
    else if (means[0].certainty == Certainty::interval && means[0].high < 0)
      result.result = Contest::first_better;
    else if (means[0].certainty == Certainty::interval && means[0].low > 0)
      result.result = Contest::second_better;
    return result;
  }

 private:
  void quantiles(std::span<const double> values, const Blocks& blocks, MetricUnit unit, MetricFigures& result) const {
    std::vector<double> shares;
    std::vector<Metric> metrics;
    for (const MetricInfo& metric : list_metrics()) {
      if (metric.kind != MetricKind::quantile || metric.unit != unit) continue;
      shares.push_back(metric.share);
      metrics.push_back(metric.id);
    }
    const std::vector<Figure> figures = bootstrap_quantiles(values, blocks, shares, options_, pool_);
    for (std::size_t i = 0; i < metrics.size(); ++i) result[metrics[i]] = figures[i];
  }

  // Logits that are equal at every position leave nothing to estimate: nothing changed.
  static void state_identity(MetricFigures& result) {
    for (const MetricInfo& metric : list_metrics()) {
      Figure& figure = result[metric.id];
      if (metric.id == Metric::perplexity || metric.kind == MetricKind::maximum ||
          figure.certainty == Certainty::too_few_blocks)
        continue;
      figure.certainty = Certainty::interval;
      figure.low = figure.high = figure.lower_bound = figure.upper_bound = figure.value;
    }
  }

  OriginalSamples original_;
  ThreadPool& pool_;
  BootstrapOptions options_{};
};

// The windows that split the loss, apart from the others: the original's samples and the candidates' as run, as if
// nothing else had been read.
class SplitReading {
 public:
  // texts: with what was read of each.
  SplitReading(const SideBySide& pass, const std::vector<MeasuredText>& texts) : pass_(pass) {
    std::size_t window = 0;
    std::vector<std::size_t> counts;
    for (const MeasuredText& text : texts) {
      const std::size_t end = window + text.windows;
      if (const std::size_t here = pass.split_windows().before(end) - pass.split_windows().before(window); here > 0)
        counts.push_back(here);
      for (; window < end; ++window)
        if (pass.split_windows().holds(window)) windows_.push_back(window);
      if (text.windows < text.windows_planned) break;
    }
    range_.end = windows_.size() * pass.scored_per_window();
    range_.blocks = equal_blocks(counts, pass.scored_per_window());
    nll_ = chosen(pass.original_nll());
    right_ = chosen(pass.original_right());
  }

  bool empty() const { return windows_.empty(); }

  LossSplit split(std::size_t candidate, ThreadPool& pool) const {
    const CandidateSamples& all = pass_.candidates()[candidate];
    const CandidateSamples& weights = pass_.weights_alone()[candidate];
    const CandidateSamples as_run{chosen(all.kl),        chosen(all.nll),   chosen(all.same_top1),
                                  chosen(all.same_top5), chosen(all.right), {}};
    const Judge judge({nll_, right_}, pool);
    return {windows_.size(), false, judge.figures(range_, weights), judge.figures(range_, as_run),
            judge.contest(range_, as_run, weights)};
  }

 private:
  template <class T>
  std::vector<T> chosen(const std::vector<T>& values) const {
    std::vector<T> result;
    const auto scored = static_cast<std::ptrdiff_t>(pass_.scored_per_window());
    for (const std::size_t window : windows_) {
      const auto first = values.begin() + static_cast<std::ptrdiff_t>(window) * scored;
      result.insert(result.end(), first, first + scored);
    }
    return result;
  }

  const SideBySide& pass_;
  std::vector<std::size_t> windows_;
  Range range_;
  std::vector<double> nll_;
  std::vector<std::uint8_t> right_;
};

}  // namespace

PairedVerdict judge(const SideBySide& pass, const std::vector<std::string>& names, ThreadPool& pool) {
  const std::size_t done = pass.windows_done(names.size());
  if (done == 0)
    throw Error(ErrorKind::unusable_input, "not one window was read, so there is nothing to judge: 0 of " +
                                               std::to_string(pass.windows_planned()));
  PairedVerdict verdict;
  verdict.protocol = pass.texts().front().windows.protocol;
  verdict.context = pass.texts().front().windows.context;
  verdict.windows = done;
  verdict.windows_planned = pass.windows_planned();
  verdict.tokens_scored = verdict.windows * pass.scored_per_window();
  std::size_t left = verdict.windows;
  for (const ReadText& text : pass.texts()) {
    const std::size_t windows = std::min(left, text.windows.count);
    left -= windows;
    verdict.texts.push_back({text.name, windows, text.windows.count, windows * pass.scored_per_window(), {}});
  }
  // Texts that an interrupt kept from being read at all come last, and have no figures.
  std::size_t read = 0;
  while (read < verdict.texts.size() && verdict.texts[read].windows > 0) ++read;

  const Judge judge({pass.original_nll(), pass.original_right()}, pool);
  const SplitReading split(pass, verdict.texts);
  const std::size_t scored = pass.scored_per_window();
  const Range all = range_of(verdict.texts, 0, read, scored);
  std::vector<Range> ranges;
  for (std::size_t i = 0; i < read; ++i) ranges.push_back(range_of(verdict.texts, i, 1, scored));
  verdict.original_perplexity = judge.original_perplexity(all);
  for (std::size_t i = 0; i < read; ++i)
    verdict.texts[i].original_perplexity =
        read == 1 ? verdict.original_perplexity : judge.original_perplexity(ranges[i]);
  for (std::size_t c = 0; c < names.size(); ++c) {
    const CandidateSamples& samples = pass.candidates()[c];
    CandidateVerdict candidate{names[c], {}, judge.figures(all, samples)};
    if (pass.split_of(c) == SideBySide::Split::same)
      candidate.split = {done, true, candidate.overall, candidate.overall, judge.contest(all, samples, samples)};
    else if (pass.split_of(c) == SideBySide::Split::read && !split.empty())
      candidate.split = split.split(c, pool);
    if (samples.layers.size() >= done) candidate.layers = layer_errors(std::span(samples.layers).first(done));
    for (std::size_t i = 0; i < read; ++i)
      candidate.texts.push_back(read == 1 ? candidate.overall : judge.figures(ranges[i], samples));
    verdict.candidates.push_back(std::move(candidate));
    if (c == 0) continue;
    verdict.contests.push_back(judge.contest(all, pass.candidates()[0], samples));
    verdict.contests.back().first = names[0];
    verdict.contests.back().second = names[c];
  }
  return verdict;
}

}  // namespace nibble
