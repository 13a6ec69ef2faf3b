// SPDX-License-Identifier: Apache-2.0
//
// Sums up what a site sees, window by window. Windows belong to a fixed number of shards of consecutive ones; each
// shard is summed by itself, and the shards' sums are added in order, so that whoever sums some of the shards elsewhere
// gets the same bits. The same bits for any number of threads. One thread at a time; the pool does the work.
//
//   SiteAccumulator sums({3, "attention_in"}, width, {.second_moment = true, .windows = n}, machine);
//   for (std::size_t window = 0; window < n; ++window) sums.add(x[window], tokens);
//   SiteStatistics statistics = sums.finish();
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/huge_pages.h"
#include "kernels/linear/rounded_rows.h"
#include "kernels/machine.h"
#include "quantize/statistics.h"

namespace nibble {

// Into how many shards the windows are cut, whoever sums them up.
inline constexpr std::size_t kMomentShards = 16;

// Counts windows: true with the last one of each shard, but for the last shard of all.
class ShardCounter {
 public:
  // windows: how many there will be; 0: all belong to one shard.
  explicit ShardCounter(std::size_t windows) : windows_(windows) {}
  bool advance() {
    const std::size_t window = seen_++;
    return seen_ < windows_ && shard_of(window) != shard_of(seen_);
  }

 private:
  std::size_t shard_of(std::size_t window) const { return window * kMomentShards / windows_; }

  std::size_t windows_, seen_ = 0;
};

struct AccumulateOptions {
  bool second_moment = false;  // the full matrix, not only its diagonal
  bool distribution = true;    // histograms of magnitudes
  bool rounded = false;        // its numbers to 8 bits, in a quarter of the time (kernels/linear/rounded_rows.h)
  std::size_t windows = 0;     // how many add() will be given; 0: all are of one shard
};

class SiteAccumulator {
 public:
  SiteAccumulator(SiteKey key, std::size_t width, const AccumulateOptions& options, Machine& machine);

  // The next window, x: [tokens, width]; there may be none. Error(corrupt) names the site when a number is not finite.
  void add(const float* x, std::size_t tokens);
  // What was added last, where it is rounded for a second moment.
  const RoundedRows& last_rounded() const { return rounded_; }
  // Leaves the accumulator empty.
  SiteStatistics finish();

 private:
  void end_shard();

  // Counted in tables of their own for numbers that stand side by side, since they often fall into the same bin:
  // [place][below 0][bin].
  static constexpr std::size_t kPlaces = 2;
  using Magnitudes = std::array<std::array<std::array<std::uint64_t, kHistogramBins>, 2>, kPlaces>;

  SiteKey key_;
  std::size_t width_;
  Machine& machine_;
  ShardCounter shards_;
  std::uint64_t count_ = 0;
  std::vector<double> sum_squares_, total_squares_;  // of the shard at hand, and of those before it
  std::vector<float> lowest_, highest_;              // of each column and 0
  bool is_rounded_;
  RoundedRows rounded_;
  std::vector<float> products_, total_products_;  // the lower triangle, of the same; empty: there are none before it
  std::vector<Magnitudes> partial_;               // what each worker has seen; empty where nobody asked
};

// The mean of y x^T over pairs of vectors that belong together, [height, width].
class CrossAccumulator {
 public:
  // is_rounded, windows: as in AccumulateOptions.
  CrossAccumulator(std::size_t height, std::size_t width, bool is_rounded, std::size_t windows, Machine& machine)
      : height_(height),
        width_(width),
        is_rounded_(is_rounded),
        machine_(machine),
        shards_(windows),
        sums_(large_vector(height * width)) {}

  // The next window, y: [tokens, height], x: [tokens, width]; there may be no tokens. rounded: the same x, read in its
  // place where is_rounded.
  void add(const float* y, const float* x, std::size_t tokens, const RoundedRows& rounded);
  std::vector<float> finish();

 private:
  std::size_t height_, width_;
  bool is_rounded_;
  RoundedRows rounded_y_;
  Machine& machine_;
  ShardCounter shards_;
  std::uint64_t count_ = 0;
  std::vector<float> sums_, total_;
};

}  // namespace nibble
