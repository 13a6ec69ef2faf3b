// SPDX-License-Identifier: Apache-2.0
//
// Drawing blocks with replacement, and quantiles of what was drawn. Internal to evaluate/: intervals.h is the way in.
//
//   for_each_resample(blocks, options, pool, [&](std::size_t replicate, std::span<const std::uint16_t> times) { ... });
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"
#include "base/thread_pool.h"
#include "evaluate/intervals.h"

namespace nibble {

// How often each block is drawn in one replicate, which has generator `random` to itself: as many draws as a stratum
// has blocks.
void draw_blocks(const Blocks& blocks, Random& random, std::span<std::uint16_t> times);

// body(replicate, times) for every replicate, from many threads; times[b]: how often block b was drawn. A replicate's
// draws depend on the seed and its number only.
template <class Body>
void for_each_resample(const Blocks& blocks, const BootstrapOptions& options, ThreadPool& pool, Body&& body) {
  pool.parallel_for(options.replicates, 64, [&](std::size_t begin, std::size_t end, std::size_t) {
    std::vector<std::uint16_t> times(blocks.count());
    for (std::size_t replicate = begin; replicate < end; ++replicate) {
      Random random(options.seed * 0x9e3779b97f4a7c15u + replicate);
      draw_blocks(blocks, random, times);
      body(replicate, std::span<const std::uint16_t>(times));
    }
  });
}

// Values in ascending order that remember their blocks.
class SortedBlocks {
 public:
  SortedBlocks(std::span<const double> values, const Blocks& blocks);
  std::span<const double> values() const { return values_; }
  std::span<const std::uint32_t> owners() const { return owners_; }  // the block of each value
  const Blocks& blocks() const { return blocks_; }
  // Whether a quantile here can have an interval.
  Certainty certainty(double share, double at) const;

 private:
  const Blocks& blocks_;
  std::vector<double> values_;
  std::vector<std::uint32_t> owners_;
};

// One quantile of resamples. Looks only at the values around the quantile, where nearly all resampled quantiles lie;
// the rest is counted.
class QuantileSearch {
 public:
  QuantileSearch(const SortedBlocks& sorted, double share);
  double find(std::span<const std::uint16_t> times) const;
  // Of each block: how many of its values lie below the quantile, less the number expected.
  const std::vector<double>& residual() const { return residual_; }

 private:
  double find_from(std::size_t first, std::uint64_t before, std::uint64_t place, double part,
                   std::span<const std::uint16_t> times) const;

  const SortedBlocks& sorted_;
  double share_;
  std::vector<double> residual_;
  std::size_t first_ = 0;                    // the band begins here
  std::vector<std::uint32_t> count_before_;  // each block's values before it
};

}  // namespace nibble
