// SPDX-License-Identifier: Apache-2.0
#include "evaluate/layer_errors.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

namespace nibble {

namespace {

constexpr std::size_t kGrain = 8;  // tokens

// The sum of squares of difference(i), i below count, in eight lanes.
template <class Difference>
double sum_of_squares(std::size_t count, Difference&& difference) {
  constexpr std::size_t kLanes = 8;
  double lanes[kLanes] = {};
  std::size_t begin = 0;
  for (; begin + kLanes <= count; begin += kLanes)
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const double d = difference(begin + lane);
      lanes[lane] += d * d;
    }
  for (std::size_t lane = 0; begin + lane < count; ++lane) {
    const double d = difference(begin + lane);
    lanes[lane] += d * d;
  }
  return ((lanes[0] + lanes[4]) + (lanes[1] + lanes[5])) + ((lanes[2] + lanes[6]) + (lanes[3] + lanes[7]));
}

double wide(float value) { return static_cast<double>(value); }

double ratio(double squares, double of) {
  if (squares == 0) return 0;
  return of == 0 ? std::numeric_limits<double>::infinity() : std::sqrt(squares / of);
}

}  // namespace

LayerErrors layer_errors(std::span<const LayerSums> parts) {
  assert(!parts.empty());
  const std::size_t points = parts.front().stream.size();
  LayerSums all(points - 1);
  const auto add = [points](std::vector<double>& sum, const std::vector<double>& part) {
    for (std::size_t i = 0; i < points; ++i) sum[i] += part[i];
  };
  for (const LayerSums& part : parts) {
    add(all.stream, part.stream);
    add(all.added, part.added);
    add(all.residual, part.residual);
    add(all.output, part.output);
    add(all.local, part.local);
  }
  LayerErrors errors;
  errors.embedding = ratio(all.residual[0], all.stream[0]);
  for (std::size_t i = 1; i < points; ++i)
    errors.layers.push_back(
        {ratio(all.residual[i], all.stream[i]), ratio(all.output[i], all.added[i]), ratio(all.local[i], all.added[i])});
  return errors;
}

std::size_t LayerWatch::tokens_at_once(const ModelConfig& config, std::size_t context) {
  constexpr std::uint64_t kMaxValues = (256u << 20) / sizeof(float);
  return static_cast<std::size_t>(
      std::clamp<std::uint64_t>(kMaxValues / ((config.layers + 1) * config.hidden), 1, context));
}

LayerWatch::LayerWatch(const ModelConfig& config, std::size_t max_tokens, ThreadPool& pool)
    : pool_(pool),
      hidden_(config.hidden),
      max_tokens_(max_tokens),
      stream_((config.layers + 1) * max_tokens * config.hidden),
      previous_(max_tokens * config.hidden),
      rows_(max_tokens) {}

const float* LayerWatch::original(const StreamPoint& point, std::size_t layers) const {
  assert(point.first_token + rows_of(point) <= max_tokens_);
  return &stream_[(layers * max_tokens_ + point.first_token) * hidden_];
}

StreamVisitor LayerWatch::record() {
  return [this](const StreamPoint& point) {
    std::ranges::copy(point.x, stream_.begin() + (original(point, point.layers) - stream_.data()));
  };
}

StreamVisitor LayerWatch::compare(LayerSums& sums) {
  return [this, &sums](const StreamPoint& point) {
    const std::size_t at = point.layers, rows = rows_of(point);
    pool_.parallel_for(rows, kGrain, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t row = begin; row < end; ++row) {
        const float* const x = original(point, at) + row * hidden_;
        const float* const y = point.x.data() + row * hidden_;
        RowSums& sum = rows_[row];
        sum = {};
        sum.stream = sum_of_squares(hidden_, [=](std::size_t i) { return wide(x[i]); });
        sum.residual = sum_of_squares(hidden_, [=](std::size_t i) { return wide(y[i]) - wide(x[i]); });
        float* const y_before = &previous_[(point.first_token + row) * hidden_];
        if (at > 0) {
          const float* const x_before = original(point, at - 1) + row * hidden_;
          sum.added = sum_of_squares(hidden_, [=](std::size_t i) { return wide(x[i]) - wide(x_before[i]); });
          sum.output = sum_of_squares(hidden_, [=](std::size_t i) {
            return (wide(y[i]) - wide(y_before[i])) - (wide(x[i]) - wide(x_before[i]));
          });
        }
        std::copy_n(y, hidden_, y_before);
      }
    });
    for (std::size_t row = 0; row < rows; ++row) {
      sums.stream[at] += rows_[row].stream;
      sums.added[at] += rows_[row].added;
      sums.residual[at] += rows_[row].residual;
      sums.output[at] += rows_[row].output;
    }
  };
}

StreamVisitor LayerWatch::hold() {
  return
      [this](const StreamPoint& point) { std::copy_n(original(point, point.layers), point.x.size(), point.x.begin()); };
}

StreamVisitor LayerWatch::hold(LayerSums& sums) {
  return [this, &sums](const StreamPoint& point) {
    const std::size_t rows = rows_of(point);
    pool_.parallel_for(rows, kGrain, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t row = begin; row < end; ++row) {
        const float* const x = original(point, point.layers) + row * hidden_;
        float* const y = point.x.data() + row * hidden_;
        rows_[row].residual = sum_of_squares(hidden_, [=](std::size_t i) { return wide(y[i]) - wide(x[i]); });
        std::copy_n(x, hidden_, y);
      }
    });
    if (point.layers == 0) return;
    for (std::size_t row = 0; row < rows; ++row) sums.local[point.layers] += rows_[row].residual;
  };
}

}  // namespace nibble
