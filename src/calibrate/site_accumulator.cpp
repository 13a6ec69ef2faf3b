// SPDX-License-Identifier: Apache-2.0
#include "calibrate/site_accumulator.h"

#include <algorithm>
#include <cmath>

#include "kernels/dense.h"

namespace nibble {

SiteAccumulator::SiteAccumulator(std::size_t width, const AccumulateOptions& options, ThreadPool& pool, Isa isa)
    : width_(width),
      pool_(pool),
      isa_(isa),
      sum_squares_(width),
      absmax_(width),
      products_(options.second_moment ? width * width : 0),
      partial_(pool.num_threads(), {std::vector<std::uint64_t>(kHistogramBins), std::vector<std::uint64_t>(kHistogramBins)}) {}

void SiteAccumulator::add(const float* x, std::size_t tokens) {
  count_ += tokens;
  // A column belongs to one chunk, so its sum runs over the tokens in order whatever the number of threads.
  pool_.parallel_for(width_, 128, [&](std::size_t begin, std::size_t end, std::size_t worker) {
    Distribution& seen = partial_[worker];
    for (std::size_t t = 0; t < tokens; ++t)
      for (std::size_t i = begin; i < end; ++i) {
        const float value = x[t * width_ + i];
        sum_squares_[i] += static_cast<double>(value) * static_cast<double>(value);
        absmax_[i] = std::max(absmax_[i], std::fabs(value));
        const std::size_t bin = histogram_bin(value);
        ++seen.all[bin];
        seen.negatives[bin] += value < 0 ? 1 : 0;
        seen.lowest = std::min(seen.lowest, value);
        seen.highest = std::max(seen.highest, value);
      }
  });
  if (!products_.empty()) syrk(x, tokens, width_, products_.data(), isa_, pool_, scratch_);
}

SiteStatistics SiteAccumulator::finish(std::int64_t layer, std::string_view site) {
  SiteStatistics result;
  result.layer = layer;
  result.site = site;
  result.count = count_;
  const double scale = count_ == 0 ? 0.0 : 1.0 / static_cast<double>(count_);
  for (const double sum : sum_squares_) result.mean_square.push_back(static_cast<float>(sum * scale));
  result.absmax = std::move(absmax_);
  result.second_moment = std::move(products_);
  for (float& value : result.second_moment) value *= static_cast<float>(scale);
  result.histogram.resize(kHistogramBins);
  result.negatives.resize(kHistogramBins);
  for (const Distribution& seen : partial_) {
    for (std::size_t bin = 0; bin < kHistogramBins; ++bin) {
      result.histogram[bin] += seen.all[bin];
      result.negatives[bin] += seen.negatives[bin];
    }
    result.lowest = std::min(result.lowest, seen.lowest);
    result.highest = std::max(result.highest, seen.highest);
  }
  partial_.clear();
  return result;
}

void CrossAccumulator::add(const float* y, const float* x, std::size_t tokens) {
  count_ += tokens;
  transposed_.resize(height_ * tokens);
  pool_.parallel_for(height_, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i)
      for (std::size_t t = 0; t < tokens; ++t) transposed_[i * tokens + t] = y[t * height_ + i];
  });
  gemm(transposed_.data(), x, height_, width_, tokens, sums_.data(), isa_, pool_, scratch_);
}

std::vector<float> CrossAccumulator::finish() {
  const float scale = count_ == 0 ? 0.0F : static_cast<float>(1.0 / static_cast<double>(count_));
  for (float& value : sums_) value *= scale;
  return std::move(sums_);
}

}  // namespace nibble
