// SPDX-License-Identifier: Apache-2.0
#include "evaluate/intervals.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "evaluate/resampling.h"
#include "evaluate/special_functions.h"

namespace nibble {

namespace {

// Shares of the sorted replicates at which the two-sided interval and the one-sided bounds stand.
constexpr double kLow = 0.025, kHigh = 0.975, kLowerBound = 0.05, kUpperBound = 0.95;

double mean_of(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double gaussian_error_of(std::span<const double> values, double mean) {
  if (values.size() < 2) return 0;
  double squares = 0;
  for (const double v : values) squares += (v - mean) * (v - mean);
  const double n = static_cast<double>(values.size());
  return std::sqrt(squares / n / (n - 1));
}

// What a mean needs of its blocks: residuals of the sums about the overall mean.
struct BlockResiduals {
  double mean = 0;
  std::vector<double> residual;  // sum of the block's values - mean * their number
};

BlockResiduals residuals_of(std::span<const double> values, const Blocks& blocks) {
  BlockResiduals result;
  result.mean = mean_of(values);
  result.residual.resize(blocks.count());
  for (std::size_t b = 0; b < blocks.count(); ++b)
    for (std::size_t i = blocks.begin(b); i < blocks.ends[b]; ++i) result.residual[b] += values[i] - result.mean;
  return result;
}

// A resample's mean as a difference from the sample's, and its standard error, from the linearised ratio of sums of
// values and of counts.
struct Resampled {
  double difference = 0, error = 0;
};

Resampled resample(std::span<const double> residual, const Blocks& blocks, std::span<const std::uint16_t> times) {
  double weight = 0, sum = 0;
  for (std::size_t b = 0; b < blocks.count(); ++b) {
    weight += static_cast<double>(times[b]) * static_cast<double>(blocks.size(b));
    sum += static_cast<double>(times[b]) * residual[b];
  }
  Resampled result;
  result.difference = sum / weight;
  double variance = 0;
  for (std::size_t h = 0; h < blocks.strata.size(); ++h) {
    double total = 0, squares = 0;
    for (std::size_t b = blocks.first_of(h); b < blocks.strata[h]; ++b) {
      const double r = residual[b] - result.difference * static_cast<double>(blocks.size(b)),
                   c = static_cast<double>(times[b]);
      total += c * r;
      squares += c * r * r;
    }
    const double n = static_cast<double>(blocks.strata[h] - blocks.first_of(h));
    if (n > 1) variance += n / (n - 1) * std::max(0.0, squares - total * total / n);
  }
  result.error = std::sqrt(variance) / weight;
  return result;
}

// How much wider an interval must be because neighbouring blocks are alike: the variance of a mean of blocks grows by 1
// + 2 r, where r is the correlation of neighbours within texts. Its estimate is low by about 1 / blocks; what is below
// 0 is left alone.
double neighbour_stretch(std::span<const double> residual, const Blocks& blocks) {
  double squares = 0, products = 0;
  for (std::size_t h = 0; h < blocks.strata.size(); ++h) {
    const auto own = residual.subspan(blocks.first_of(h), blocks.strata[h] - blocks.first_of(h));
    const double centre = mean_of(own);
    for (std::size_t i = 0; i < own.size(); ++i) {
      squares += (own[i] - centre) * (own[i] - centre);
      if (i > 0) products += (own[i] - centre) * (own[i - 1] - centre);
    }
  }
  if (squares == 0) return 1;
  return std::sqrt(1 + 2 * std::max(0.0, products / squares + 1 / static_cast<double>(blocks.count())));
}

void stretch(Figure& figure, double factor) {
  for (double* end : {&figure.low, &figure.high, &figure.lower_bound, &figure.upper_bound})
    *end = figure.value + factor * (*end - figure.value);
}

// Too few events, or too few of their absence, for resampling: values that are all 0 or 1 and one of them in hardly any
// block.
bool is_rare_share(std::span<const double> values, const Blocks& blocks) {
  if (!std::all_of(values.begin(), values.end(), [](double v) { return v == 0 || v == 1; })) return false;
  std::size_t with_event = 0, with_absence = 0;
  for (std::size_t b = 0; b < blocks.count(); ++b) {
    const auto block = values.subspan(blocks.begin(b), blocks.size(b));
    with_event += std::find(block.begin(), block.end(), 1.0) != block.end();
    with_absence += std::find(block.begin(), block.end(), 0.0) != block.end();
  }
  return std::min(with_event, with_absence) < kFewestExceedingBlocks;
}

void bound_rare_share(Figure& figure, std::size_t count, double block_error) {
  // Events that come in clusters count for fewer: by the variance between blocks over that of independent events.
  const double n = static_cast<double>(count), p = figure.value, independent = p * (1 - p) / n;
  const double effect = independent > 0 ? std::max(1.0, block_error * block_error / independent) : 1;
  const ShareBounds both = share_bounds(p * n / effect, n / effect, kLow),
                    single = share_bounds(p * n / effect, n / effect, kLowerBound);
  figure.low = both.low;
  figure.high = both.high;
  figure.lower_bound = single.low;
  figure.upper_bound = single.high;
}

}  // namespace

double quantile(std::span<const double> values, double share) {
  const double place = share * static_cast<double>(values.size() - 1);
  const auto below = static_cast<std::size_t>(place);
  if (below + 1 >= values.size()) return values.back();
  const double part = place - static_cast<double>(below);
  return (1 - part) * values[below] + part * values[below + 1];
}

std::vector<Figure> bootstrap_means(const std::vector<std::span<const double>>& series, const Blocks& blocks,
                                    const BootstrapOptions& options, ThreadPool& pool) {
  std::vector<Figure> figures(series.size());
  std::vector<BlockResiduals> residuals;
  for (std::size_t k = 0; k < series.size(); ++k) {
    residuals.push_back(residuals_of(series[k], blocks));
    figures[k].value = residuals[k].mean;
    figures[k].gaussian_error = gaussian_error_of(series[k], residuals[k].mean);
    figures[k].certainty = blocks.count() < kFewestBlocks ? Certainty::too_few_blocks : Certainty::interval;
  }
  if (blocks.count() < kFewestBlocks) return figures;
  const std::size_t replicates = options.replicates;
  std::vector<std::vector<double>> t(series.size(), std::vector<double>(replicates));
  for_each_resample(blocks, options, pool, [&](std::size_t replicate, std::span<const std::uint16_t> times) {
    for (std::size_t k = 0; k < series.size(); ++k) {
      const Resampled drawn = resample(residuals[k].residual, blocks, times);
      t[k][replicate] = drawn.difference == 0 ? 0 : drawn.difference / drawn.error;
    }
  });
  const std::vector<std::uint16_t> once(blocks.count(), 1);
  for (std::size_t k = 0; k < series.size(); ++k) {
    Figure& figure = figures[k];
    const double error = resample(residuals[k].residual, blocks, once).error,
                 factor = neighbour_stretch(residuals[k].residual, blocks);
    if (is_rare_share(series[k], blocks)) {
      bound_rare_share(figure, series[k].size(), error * factor);
      continue;
    }
    std::sort(t[k].begin(), t[k].end());
    const auto end = [&](double share) {
      return error == 0 ? figure.value : figure.value - quantile(t[k], share) * error;
    };
    figure.low = end(kHigh);
    figure.high = end(kLow);
    figure.lower_bound = end(kUpperBound);
    figure.upper_bound = end(kLowerBound);
    stretch(figure, factor);
  }
  return figures;
}

Figure bootstrap_mean(std::span<const double> values, const Blocks& blocks, const BootstrapOptions& options,
                      ThreadPool& pool) {
  return bootstrap_means({values}, blocks, options, pool).front();
}

std::vector<Figure> bootstrap_quantiles(std::span<const double> values, const Blocks& blocks,
                                        std::span<const double> shares, const BootstrapOptions& options,
                                        ThreadPool& pool) {
  const SortedBlocks sorted(values, blocks);
  std::vector<Figure> figures(shares.size());
  std::vector<QuantileSearch> searches;
  std::vector<std::size_t> which;
  for (std::size_t k = 0; k < shares.size(); ++k) {
    figures[k].value = quantile(sorted.values(), shares[k]);
    figures[k].certainty = sorted.certainty(shares[k], figures[k].value);
    if (figures[k].certainty != Certainty::interval) continue;
    searches.emplace_back(sorted, shares[k]);
    which.push_back(k);
  }
  if (searches.empty()) return figures;
  std::vector<std::vector<double>> drawn(searches.size(), std::vector<double>(options.replicates));
  for_each_resample(blocks, options, pool, [&](std::size_t replicate, std::span<const std::uint16_t> times) {
    for (std::size_t s = 0; s < searches.size(); ++s) drawn[s][replicate] = searches[s].find(times);
  });
  for (std::size_t s = 0; s < searches.size(); ++s) {
    std::sort(drawn[s].begin(), drawn[s].end());
    Figure& figure = figures[which[s]];
    figure.low = quantile(drawn[s], kLow);
    figure.high = quantile(drawn[s], kHigh);
    figure.lower_bound = quantile(drawn[s], kLowerBound);
    figure.upper_bound = quantile(drawn[s], kUpperBound);
    stretch(figure, neighbour_stretch(searches[s].residual(), blocks));
  }
  return figures;
}

}  // namespace nibble
