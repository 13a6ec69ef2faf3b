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
#include "calibrate/window_share.h"
#include "kernels/linear/rounded_rows.h"
#include "kernels/machine.h"
#include "quantize/statistics.h"

namespace nibble {

// Counts windows: true with the last one of each shard, but for the last shard of all.
class ShardCounter {
 public:
  explicit ShardCounter(const WindowShare& windows) : windows_(windows.total), seen_(windows.first) {}
  bool advance() {
    const std::size_t window = seen_++;
    return seen_ < windows_ && shard_of_window(window, windows_) != shard_of_window(seen_, windows_);
  }

 private:
  std::size_t windows_, seen_;
};

struct AccumulateOptions {
  bool second_moment = false;  // the full matrix, not only its diagonal
  bool distribution = true;    // histograms of magnitudes
  bool rounded = false;        // its numbers to 8 bits, in a quarter of the time (kernels/linear/rounded_rows.h)
  WindowShare windows{};       // of all windows those that add() will be given; of 0: all are of one shard
};

class SiteAccumulator {
 public:
  SiteAccumulator(SiteKey key, std::size_t width, const AccumulateOptions& options, Machine& machine);

  // The next window, x: [tokens, width]; there may be none. Error(corrupt) names the site when a number is not finite.
  void add(const float* x, std::size_t tokens);
  // What was added last, where it is rounded for a second moment.
  const RoundedRows& last_rounded() const { return rounded_; }
  // Leaves the accumulator empty. Where several ranks have windows: of all of theirs, and collective.
  SiteStatistics finish();

 private:
  void end_shard();
  void add_up_ranks();

  // Counted in tables of their own for numbers that stand side by side, since they often fall into the same bin:
  // [place][below 0][bin].
  static constexpr std::size_t kPlaces = 2;
  using Magnitudes = std::array<std::array<std::array<std::uint64_t, kHistogramBins>, 2>, kPlaces>;

  SiteKey key_;
  std::size_t width_;
  Machine& machine_;
  ShardCounter shards_;
  Transport* transport_;
  bool is_shard_open_ = false;
  std::uint64_t count_ = 0;
  std::vector<double> sum_squares_, total_squares_;  // of the shard at hand, and of those before it
  std::vector<float> lowest_, highest_;              // of each column and 0
  bool is_rounded_;
  RoundedRows rounded_;
  std::vector<float> products_, total_products_;  // the lower triangle, of the same; empty: there are none before it
  std::vector<Magnitudes> partial_;               // what each worker has seen; empty where nobody asked
  // Of each shard here, where several ranks have shards.
  std::vector<std::vector<double>> shard_squares_;
  std::vector<std::vector<float>> shard_products_;
};

// The mean of y x^T over pairs of vectors that belong together, [height, width].
class CrossAccumulator {
 public:
  // is_rounded, windows: as in AccumulateOptions.
  CrossAccumulator(std::size_t height, std::size_t width, bool is_rounded, const WindowShare& windows, Machine& machine)
      : height_(height),
        width_(width),
        is_rounded_(is_rounded),
        machine_(machine),
        shards_(windows),
        transport_(windows.transport),
        sums_(large_vector(height * width)) {}

  // The next window, y: [tokens, height], x: [tokens, width]; there may be no tokens. rounded: the same x, read in its
  // place where is_rounded.
  void add(const float* y, const float* x, std::size_t tokens, const RoundedRows& rounded);
  // As SiteAccumulator::finish.
  std::vector<float> finish();

 private:
  void end_shard();

  std::size_t height_, width_;
  bool is_rounded_;
  RoundedRows rounded_y_;
  Machine& machine_;
  ShardCounter shards_;
  Transport* transport_;
  bool is_shard_open_ = false;
  std::uint64_t count_ = 0;
  std::vector<float> sums_, total_;
  std::vector<std::vector<float>> shard_sums_;  // where several ranks have shards
};

}  // namespace nibble
