// SPDX-License-Identifier: Apache-2.0
//
// Figures with intervals, by a bootstrap over blocks. Tokens of a window (or answers to one document) are correlated,
// so whole blocks are drawn with replacement, within each text apart. Means and ratios are studentized (Efron and
// Tibshirani 1993, ch. 12), quantiles take the percentiles of the resampled quantile. Intervals are stretched where
// neighbouring blocks are still alike. Fixed seeds: the same bits for any number of threads.
//
//   Blocks blocks = equal_blocks({60}, 256);                 // one text of 60 windows with 256 values each
//   Figure kl = bootstrap_mean(values, blocks, {}, pool);
//   if (kl.certainty == Certainty::interval) show(kl.low, kl.value, kl.high);
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "nibble/evaluate.h"

namespace nibble {

inline constexpr std::size_t kFewestBlocks = 30;           // fewer blocks say too little about how blocks differ
inline constexpr std::size_t kFewestExceedances = 20;      // values beyond a quantile, on its thin side ...
inline constexpr std::size_t kFewestExceedingBlocks = 10;  // ... and blocks that hold them

// Values in order, cut into blocks. Block b holds values [ends[b - 1], ends[b]); stratum (text) h holds blocks
// [strata[h - 1], strata[h]).
struct Blocks {
  std::vector<std::size_t> ends, strata;

  std::size_t count() const { return ends.size(); }
  std::size_t begin(std::size_t block) const { return block == 0 ? 0 : ends[block - 1]; }
  std::size_t size(std::size_t block) const { return ends[block] - begin(block); }
  std::size_t first_of(std::size_t stratum) const { return stratum == 0 ? 0 : strata[stratum - 1]; }
};

// One stratum per entry of `windows`, each of so many blocks of `values_per_window`.
Blocks equal_blocks(const std::vector<std::size_t>& windows, std::size_t values_per_window);

// Neighbouring blocks of one stratum joined by `length`; what is left over at a stratum's end joins its last block.
Blocks joined_blocks(const Blocks& blocks, std::size_t length);

// How many neighbouring blocks must be joined until block means no longer predict their neighbours (lag-1 correlation
// within texts below its one-sided 5 % point), a power of two. Stops where fewer than 2 kFewestBlocks would be left.
std::size_t independent_length(std::span<const double> values, const Blocks& blocks);

struct BootstrapOptions {
  std::size_t replicates = 1999;
  std::uint64_t seed = 1;
};

// The mean of all values. gaussian_error is filled in. When the values are all 0 or 1 and either is too rare for
// resampling (in fewer than kFewestExceedingBlocks blocks), the bounds are Clopper and Pearson's on the effective
// number of values.
Figure bootstrap_mean(std::span<const double> values, const Blocks& blocks, const BootstrapOptions& options,
                      ThreadPool& pool);
// Several means over the same blocks, from the same draws: the same figures, faster. Each span as long as the blocks.
std::vector<Figure> bootstrap_means(const std::vector<std::span<const double>>& series, const Blocks& blocks,
                                    const BootstrapOptions& options, ThreadPool& pool);

// The values below which these shares lie.
std::vector<Figure> bootstrap_quantiles(std::span<const double> values, const Blocks& blocks,
                                        std::span<const double> shares, const BootstrapOptions& options,
                                        ThreadPool& pool);

// The figure of a growing function of the quantity, for example of exp for a perplexity. slope: its derivative at
// figure.value. Bounds that leave the numbers there are bound nothing: such a figure has no interval.
template <class Function>
Figure transformed(Figure figure, Function&& function, double slope) {
  figure.gaussian_error *= slope;
  for (double* value : {&figure.value, &figure.low, &figure.high, &figure.lower_bound, &figure.upper_bound})
    *value = function(*value);
  const bool is_bounded = std::isfinite(figure.low) && std::isfinite(figure.high) &&  //
                          std::isfinite(figure.lower_bound) && std::isfinite(figure.upper_bound);
  if (figure.certainty == Certainty::interval && !is_bounded) figure.certainty = Certainty::too_few_blocks;
  return figure;
}

// The value below which this share of `values` lies, interpolated between neighbours as llama.cpp does. values: sorted,
// not empty.
double quantile(std::span<const double> values, double share);

}  // namespace nibble
