// SPDX-License-Identifier: Apache-2.0
#include "calibrate/site_accumulator.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "kernels/dense/dense.h"
#include "nibble/error.h"

namespace nibble {
namespace {

void scale_all(std::vector<float>& values, double scale, ThreadPool& pool) {
  pool.parallel_for(values.size(), std::size_t{1} << 16, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) values[i] *= static_cast<float>(scale);
  });
}

// The shard's sums go into the total, and become zeros.
void move_into(std::vector<float>& total, std::vector<float>& sums, ThreadPool& pool) {
  if (total.empty()) total = large_vector(sums.size());
  pool.parallel_for(sums.size(), std::size_t{1} << 16, [&](std::size_t begin, std::size_t end, std::size_t) {
    for (std::size_t i = begin; i < end; ++i) {
      total[i] += sums[i];
      sums[i] = 0;
    }
  });
}

// Of some columns.
struct ColumnSums {
  double* squares;
  float *lowest, *highest;
  std::size_t columns;
};

// One after the other, but with sums kept in registers between them.
template <std::size_t kTokens>
void add_tokens(const float* x, std::size_t stride, const ColumnSums& sums) {
  for (std::size_t i = 0; i < sums.columns; ++i) {
    double squares = sums.squares[i];
    float lowest = sums.lowest[i], highest = sums.highest[i];
    for (std::size_t t = 0; t < kTokens; ++t) {
      const float value = x[t * stride + i];
      squares += static_cast<double>(value) * static_cast<double>(value);
      lowest = std::min(lowest, value);
      highest = std::max(highest, value);
    }
    sums.squares[i] = squares;
    sums.lowest[i] = lowest;
    sums.highest[i] = highest;
  }
}

}  // namespace

SiteAccumulator::SiteAccumulator(SiteKey key, std::size_t width, const AccumulateOptions& options, Machine& machine)
    : key_(std::move(key)),
      width_(width),
      machine_(machine),
      shards_(options.windows),
      transport_(options.windows.transport),
      sum_squares_(width),
      total_squares_(width),
      lowest_(width),
      highest_(width),
      is_rounded_(options.rounded),
      products_(large_vector(options.second_moment ? width * width : 0)),
      partial_(options.distribution ? machine.pool.num_threads() : 0) {}

void SiteAccumulator::add(const float* x, std::size_t tokens) {
  is_shard_open_ = true;
  count_ += tokens;
  // A column belongs to one chunk, so its sum runs over the tokens in order whatever the number of threads.
  machine_.pool.parallel_for(width_, 128, [&](std::size_t begin, std::size_t end, std::size_t worker) {
    const ColumnSums sums{&sum_squares_[begin], &lowest_[begin], &highest_[begin], end - begin};
    std::size_t done = 0;
    for (; done + 4 <= tokens; done += 4) add_tokens<4>(x + done * width_ + begin, width_, sums);
    for (; done < tokens; ++done) add_tokens<1>(x + done * width_ + begin, width_, sums);
    if (partial_.empty()) return;
    Magnitudes& seen = partial_[worker];
    for (std::size_t t = 0; t < tokens; ++t) {
      const float* const row = x + t * width_;
      for (std::size_t i = begin; i < end; ++i) ++seen[i % kPlaces][row[i] < 0][histogram_bin(row[i])];
    }
  });
  for (const double sum : sum_squares_)
    if (!std::isfinite(sum))  // squares of finite f32 numbers never overflow f64
      throw Error(ErrorKind::corrupt,
                  fmt::format("an activation is not finite, so the model's weights overflow: {}", key_.name()));
  if (!products_.empty() && !is_rounded_ && tokens > 0) syrk(x, tokens, width_, products_.data(), machine_);
  if (!products_.empty() && is_rounded_ && tokens > 0) {
    rounded_.assign(x, tokens, width_, machine_.pool);
    syrk(rounded_, products_.data(), machine_);
  }
  if (shards_.advance()) end_shard();
}

void SiteAccumulator::end_shard() {
  if (is_shared(transport_)) {
    if (!std::exchange(is_shard_open_, false)) return;
    shard_squares_.push_back(std::exchange(sum_squares_, std::vector<double>(width_)));
    if (!products_.empty()) shard_products_.push_back(std::exchange(products_, large_vector(products_.size())));
    return;
  }
  for (std::size_t i = 0; i < width_; ++i) {
    total_squares_[i] += sum_squares_[i];
    sum_squares_[i] = 0;
  }
  if (!products_.empty()) move_into(total_products_, products_, machine_.pool);
}

// Squares, products, ranges and counts of all ranks in place of this one's.
void SiteAccumulator::add_up_ranks() {
  if (!is_shared(transport_)) return;
  const std::string what = "what the site sees: " + key_.name();
  total_squares_ = add_shards(shard_squares_, width_, *transport_, what);
  shard_squares_.clear();
  // Of the products the lower triangle is all that is known.
  const std::size_t numbers = products_.empty() ? 0 : width_ * (width_ + 1) / 2;
  if (numbers > 0) {
    for (std::vector<float>& products : shard_products_) {
      for (std::size_t row = 1, at = 1; row < width_; at += ++row)
        std::memmove(&products[at], &products[row * width_], (row + 1) * sizeof(float));
      products.resize(numbers);
    }
    const std::vector<float> triangle = add_shards(shard_products_, numbers, *transport_, what);
    shard_products_.clear();
    total_products_ = large_vector(width_ * width_);
    for (std::size_t row = 0, at = 0; row < width_; at += ++row)
      std::copy_n(&triangle[at], row + 1, &total_products_[row * width_]);
  }
  std::vector<float> ranges = lowest_;
  ranges.insert(ranges.end(), highest_.begin(), highest_.end());
  for (const Bytes& bytes : transport_->all_gather(std::as_bytes(std::span(ranges)), what)) {
    std::memcpy(ranges.data(), bytes.data(), bytes.size());
    for (std::size_t i = 0; i < width_; ++i) {
      lowest_[i] = std::min(lowest_[i], ranges[i]);
      highest_[i] = std::max(highest_[i], ranges[width_ + i]);
    }
  }
  std::vector<std::uint64_t> counts = {count_};
  constexpr std::size_t kBins = sizeof(Magnitudes) / sizeof(std::uint64_t);
  if (!partial_.empty()) {
    counts.resize(1 + kBins);
    std::vector<std::uint64_t> seen(kBins);
    for (const Magnitudes& magnitudes : partial_) {
      std::memcpy(seen.data(), &magnitudes, sizeof magnitudes);
      for (std::size_t i = 0; i < kBins; ++i) counts[1 + i] += seen[i];
    }
    partial_.resize(1);
  }
  add_counts(counts, transport_, what);
  count_ = counts.front();
  if (!partial_.empty()) std::memcpy(&partial_.front(), &counts[1], sizeof(Magnitudes));
}

SiteStatistics SiteAccumulator::finish() {
  end_shard();
  add_up_ranks();
  SiteStatistics result;
  static_cast<SiteKey&>(result) = key_;
  result.count = count_;
  const double scale = count_ == 0 ? 0.0 : 1.0 / static_cast<double>(count_);
  for (const double sum : total_squares_) result.mean_square.push_back(static_cast<float>(sum * scale));
  for (std::size_t i = 0; i < width_; ++i) {
    result.absmax.push_back(std::max(highest_[i], -lowest_[i]));
    result.lowest = std::min(result.lowest, lowest_[i]);
    result.highest = std::max(result.highest, highest_[i]);
  }
  products_ = {};
  if (!total_products_.empty()) mirror_lower(total_products_.data(), width_, machine_.pool);
  result.second_moment = std::move(total_products_);
  scale_all(result.second_moment, scale, machine_.pool);
  if (is_rounded_ && !result.second_moment.empty())  // the diagonal is known as it is
    for (std::size_t i = 0; i < width_; ++i) result.second_moment[i * width_ + i] = result.mean_square[i];
  if (partial_.empty()) return result;
  result.histogram.resize(kHistogramBins);
  result.negatives.resize(kHistogramBins);
  for (const Magnitudes& seen : partial_)
    for (const auto& place : seen)
      for (std::size_t bin = 0; bin < kHistogramBins; ++bin) {
        result.histogram[bin] += place[0][bin] + place[1][bin];
        result.negatives[bin] += place[1][bin];
      }
  partial_.clear();
  return result;
}

void CrossAccumulator::add(const float* y, const float* x, std::size_t tokens, const RoundedRows& rounded) {
  is_shard_open_ = true;
  count_ += tokens;
  if (tokens > 0 && is_rounded_) {
    rounded_y_.assign(y, tokens, height_, machine_.pool);
    add_outer_products(rounded_y_, rounded, sums_.data(), machine_);
  } else if (tokens > 0) {
    add_outer_products(y, x, tokens, height_, width_, sums_.data(), machine_);
  }
  if (shards_.advance()) end_shard();
}

void CrossAccumulator::end_shard() {
  if (!is_shared(transport_)) return move_into(total_, sums_, machine_.pool);
  if (std::exchange(is_shard_open_, false)) shard_sums_.push_back(std::exchange(sums_, large_vector(sums_.size())));
}

std::vector<float> CrossAccumulator::finish() {
  end_shard();
  sums_ = {};
  if (is_shared(transport_)) {
    const std::string what = "what the original gives beside what a site sees";
    total_ = add_shards(shard_sums_, height_ * width_, *transport_, what);
    shard_sums_.clear();
    std::vector<std::uint64_t> count = {count_};
    add_counts(count, transport_, what);
    count_ = count.front();
  }
  scale_all(total_, count_ == 0 ? 0.0 : 1.0 / static_cast<double>(count_), machine_.pool);
  return std::move(total_);
}

}  // namespace nibble
