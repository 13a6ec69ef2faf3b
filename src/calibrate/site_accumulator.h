// SPDX-License-Identifier: Apache-2.0
//
// Sums up what a site sees. The same bits for any number of threads, as long as inputs come in the same order and pieces. One thread at a
// time; the pool does the work.
//
//   SiteAccumulator sums(width, {.second_moment = true}, pool, isa);
//   sums.add(x, tokens);
//   SiteStatistics statistics = sums.finish(layer, "attention_in");
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/cpu.h"
#include "base/thread_pool.h"
#include "kernels/linear.h"
#include "quantize/statistics.h"

namespace nibble {

struct AccumulateOptions {
  bool second_moment = false;  // the full matrix, not only its diagonal
};

class SiteAccumulator {
 public:
  SiteAccumulator(std::size_t width, const AccumulateOptions& options, ThreadPool& pool, Isa isa);

  // x: [tokens, width], finite.
  void add(const float* x, std::size_t tokens);
  // Leaves the accumulator empty.
  SiteStatistics finish(std::int64_t layer, std::string_view site);

 private:
  std::size_t width_;
  ThreadPool& pool_;
  Isa isa_;
  KernelScratch scratch_;
  std::uint64_t count_ = 0;
  std::vector<double> sum_squares_;
  std::vector<float> absmax_, products_;
  // What one worker has seen, or all: magnitudes of all numbers, of those below 0, and the ends.
  struct Distribution {
    std::vector<std::uint64_t> all, negatives;
    float lowest = 0, highest = 0;
  };
  std::vector<Distribution> partial_;
};

// The mean of y x^T over pairs of vectors that belong together, [height, width].
class CrossAccumulator {
 public:
  CrossAccumulator(std::size_t height, std::size_t width, ThreadPool& pool, Isa isa)
      : height_(height), width_(width), pool_(pool), isa_(isa), sums_(height * width) {}

  // y: [tokens, height], x: [tokens, width].
  void add(const float* y, const float* x, std::size_t tokens);
  std::vector<float> finish();

 private:
  std::size_t height_, width_;
  ThreadPool& pool_;
  Isa isa_;
  KernelScratch scratch_;
  std::uint64_t count_ = 0;
  std::vector<float> sums_, transposed_;
};

}  // namespace nibble
