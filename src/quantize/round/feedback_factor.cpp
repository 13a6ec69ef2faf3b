// SPDX-License-Identifier: Apache-2.0
#include "quantize/round/feedback_factor.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <numeric>

#include "kernels/dense/dense.h"

namespace nibble {
namespace {

constexpr std::size_t kMaxUnit = 8;

// The inverse of an upper triangular [unit, unit] block.
void invert_upper(const std::array<double, kMaxUnit * kMaxUnit>& r, std::size_t unit,
                  std::array<double, kMaxUnit * kMaxUnit>& inverse) {
  inverse.fill(0);
  for (std::size_t j = 0; j < unit; ++j) {
    inverse[j * unit + j] = 1 / r[j * unit + j];
    for (std::size_t i = j; i-- > 0;) {
      double sum = 0;
      for (std::size_t k = i + 1; k <= j; ++k) sum += r[i * unit + k] * inverse[k * unit + j];
      inverse[i * unit + j] = -sum / r[i * unit + i];
    }
  }
}

}  // namespace

FeedbackFactor::FeedbackFactor(std::span<const float> second_moment, std::size_t cols, const FactorOptions& options,
                               Machine& machine)
    : cols_(cols), unit_(options.unit), block_(options.block), diagonal_(cols), added_(cols) {
  assert(second_moment.size() == cols * cols && cols % unit_ == 0 && block_ % unit_ == 0 && unit_ <= kMaxUnit);
  for (std::size_t i = 0; i < cols; ++i) {
    diagonal_[i] = second_moment[i * cols + i];
    dead_ += diagonal_[i] > 0 ? 0 : 1;
  }
  choose_order(options.act_order);
  factor(second_moment, options.damp_percent, machine);
}

void FeedbackFactor::choose_order(bool act_order) {
  std::vector<std::uint32_t> units(cols_ / unit_);
  std::iota(units.begin(), units.end(), 0u);
  if (act_order) {
    std::vector<float> weight(units.size());
    for (std::size_t i = 0; i < cols_; ++i) weight[i / unit_] += diagonal_[i];
    std::ranges::stable_sort(units, [&](std::uint32_t a, std::uint32_t b) { return weight[a] > weight[b]; });
  }
  for (const std::uint32_t unit : units)
    for (std::size_t j = 0; j < unit_; ++j) order_.push_back(static_cast<std::uint32_t>(unit * unit_ + j));
}

void FeedbackFactor::factor(std::span<const float> second_moment, double damp_percent, Machine& machine) {
  const std::size_t n = cols_;
  double mean = 0;
  for (const float value : diagonal_) mean += static_cast<double>(value) / static_cast<double>(n);
  if (!(mean > 0)) mean = 1;  // nothing was seen: every error weighs the same
  const ResidentBytes memory(n * n * sizeof(double));
  double* const reversed = memory.as<double>();
  for (damping_ = std::max(damp_percent, 1e-8);; damping_ *= 2, ++repairs_) {
    // Rows and columns backwards: the lower factor of this is the upper factor of the other.
    machine.pool.parallel_for(n, 16, [&](std::size_t begin, std::size_t end, std::size_t) {
      for (std::size_t i = begin; i < end; ++i) {
        const float* const row = &second_moment[order_[n - 1 - i] * n];
        for (std::size_t j = 0; j < n; ++j) reversed[i * n + j] = static_cast<double>(row[order_[n - 1 - j]]);
        const double added = (row[order_[n - 1 - i]] > 0 ? 0 : mean) + damping_ * mean;
        reversed[i * n + i] += added;
        added_[order_[n - 1 - i]] = static_cast<float>(added);
      }
    });
    if (cholesky(reversed, n, machine) == n) break;
  }
  store_panels(reversed, machine.pool);
}

void FeedbackFactor::store_panels(const double* reversed, ThreadPool& pool) {
  const std::size_t n = cols_;
  const auto r = [&](std::size_t i, std::size_t j) { return reversed[(n - 1 - i) * n + (n - 1 - j)]; };
  std::size_t size = 0;
  for (std::size_t b = 0; b < num_blocks(); ++b) {
    panel_start_.push_back(size);
    size += (b * block_ + block_cols(b)) * block_cols(b);
  }
  panels_ = ResidentBytes(size * sizeof(float));
  float* const panels = panels_.as<float>();
  metrics_.resize(n * unit_);
  inverse_metrics_.resize(n * unit_);
  pool.parallel_for(num_blocks(), 1, [&](std::size_t first, std::size_t last, std::size_t) {
    std::array<double, kMaxUnit * kMaxUnit> own{}, inverse{};
    std::vector<double> inverses;  // of the block's units
    for (std::size_t b = first; b < last; ++b) {
      const std::size_t width = block_cols(b), begin = b * block_;
      inverses.clear();
      for (std::size_t p = begin; p < begin + width; p += unit_) {
        for (std::size_t i = 0; i < unit_; ++i)
          for (std::size_t j = 0; j < unit_; ++j) own[i * unit_ + j] = j >= i ? r(p + i, p + j) : 0;
        invert_upper(own, unit_, inverse);
        inverses.insert(inverses.end(), inverse.begin(), inverse.begin() + static_cast<std::ptrdiff_t>(unit_ * unit_));
        for (std::size_t i = 0; i < unit_; ++i)
          for (std::size_t j = 0; j < unit_; ++j) {
            double sum = 0, inverse_sum = 0;
            for (std::size_t k = 0; k < unit_; ++k) {
              sum += own[i * unit_ + k] * own[j * unit_ + k];
              inverse_sum += inverse[k * unit_ + i] * inverse[k * unit_ + j];
            }
            metrics_[p * unit_ + i * unit_ + j] = static_cast<float>(sum);
            inverse_metrics_[p * unit_ + i * unit_ + j] = static_cast<float>(inverse_sum);
          }
      }
      // Row by row, as they lie in memory; a row meets the units that begin behind it.
      for (std::size_t k = 0; k < begin + width; ++k)
        for (std::size_t at = k < begin ? 0 : (k - begin) / unit_ * unit_ + unit_; at < width; at += unit_) {
          const double* const of_unit = &inverses[at * unit_];
          for (std::size_t j = 0; j < unit_; ++j) {
            double sum = 0;
            for (std::size_t i = 0; i <= j; ++i) sum += r(k, begin + at + i) * of_unit[i * unit_ + j];
            panels[panel_start_[b] + k * width + at + j] = static_cast<float>(sum);
          }
        }
    }
  });
}

const float* FeedbackFactor::feedback(std::size_t from, std::size_t to) const {
  return panels_.as<float>() + panel_start_[to] + from * block_ * block_cols(to);
}

}  // namespace nibble
