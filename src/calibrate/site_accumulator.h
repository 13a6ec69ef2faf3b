// SPDX-License-Identifier: Apache-2.0
//
// Sums up what a site sees. The same bits for any number of threads, as long as inputs come in the same order and
// pieces. One thread at a time; the pool does the work.
//
//   SiteAccumulator sums(layer, "attention_in", width, {.second_moment = true}, machine);
//   sums.add(x, tokens);
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

struct AccumulateOptions {
  bool second_moment = false;  // the full matrix, not only its diagonal
  bool distribution = true;    // histograms of magnitudes
  bool rounded = false;        // its numbers to 8 bits, in a quarter of the time (kernels/linear/rounded_rows.h)
};

class SiteAccumulator {
 public:
  SiteAccumulator(std::int64_t layer, std::string_view site, std::size_t width, const AccumulateOptions& options,
                  Machine& machine);

  // x: [tokens, width]. Error(corrupt) names the site when a number is not finite.
  void add(const float* x, std::size_t tokens);
  // What was added last, where it is rounded for a second moment.
  const RoundedRows& last_rounded() const { return rounded_; }
  // Leaves the accumulator empty.
  SiteStatistics finish();

 private:
  // Counted in tables of their own for numbers that stand side by side, since they often fall into the same bin:
  // [place][below 0][bin].
  static constexpr std::size_t kPlaces = 2;
  using Magnitudes = std::array<std::array<std::array<std::uint64_t, kHistogramBins>, 2>, kPlaces>;

  std::int64_t layer_;
  std::string site_;
  std::size_t width_;
  Machine& machine_;
  std::uint64_t count_ = 0;
  std::vector<double> sum_squares_;
  std::vector<float> lowest_, highest_;  // of each column and 0
  bool is_rounded_;
  RoundedRows rounded_;
  std::vector<float> products_;      // the lower triangle
  std::vector<Magnitudes> partial_;  // what each worker has seen; empty where nobody asked
};

// The mean of y x^T over pairs of vectors that belong together, [height, width].
class CrossAccumulator {
 public:
  // is_rounded: as AccumulateOptions::rounded.
  CrossAccumulator(std::size_t height, std::size_t width, bool is_rounded, Machine& machine)
      : height_(height),
        width_(width),
        is_rounded_(is_rounded),
        machine_(machine),
        sums_(large_vector(height * width)) {}

  // y: [tokens, height], x: [tokens, width]. rounded: the same x, read in its place where is_rounded.
  void add(const float* y, const float* x, std::size_t tokens, const RoundedRows& rounded);
  std::vector<float> finish();

 private:
  std::size_t height_, width_;
  bool is_rounded_;
  RoundedRows rounded_y_;
  Machine& machine_;
  std::uint64_t count_ = 0;
  std::vector<float> sums_;
};

}  // namespace nibble
