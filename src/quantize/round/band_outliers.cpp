// SPDX-License-Identifier: Apache-2.0
#include "quantize/round/band_outliers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <queue>

namespace nibble {
namespace {

constexpr float kLargestHalf = 65504;

// A group of a tile: what it loses now, and what it would lose without the weight that it gains most by.
struct Group {
  std::uint32_t row, span;
  double loss, loss_without;
  std::uint32_t column;  // within the group

  double gain() const { return loss - loss_without; }
};

// The largest gain first; of equal ones the first.
struct LessGain {
  bool operator()(const Group& a, const Group& b) const {
    if (a.gain() != b.gain()) return a.gain() < b.gain();
    return a.row != b.row ? a.row > b.row : a.span > b.span;
  }
};

// Chooses the outliers of one tile at a time.
class TileChoice {
 public:
  TileChoice(const OutlierFormat& format, const RoundBand& band, std::span<const float> importance,
             std::span<const float> costs)
      : format_(*format.weights()),
        band_(band),
        importance_(importance),
        costs_(costs),
        most_of_row_(format.layout(band.cols).most_of_row()),
        span_(format_.info().span == 0 ? band.cols : std::min<std::size_t>(format_.info().span, band.cols)),
        grid_(format_.grid_bytes()),
        x_(span_),
        errors_(span_),
        weights_(importance.empty() ? 0 : span_) {}

  // Marks those of `rows` rows from `first` on in is_outlier [band.rows, band.cols].
  void choose(std::size_t first, std::size_t rows, std::size_t places, std::uint8_t* is_outlier) {
    is_outlier_ = is_outlier;
    std::priority_queue<Group, std::vector<Group>, LessGain> groups;
    for (std::size_t row = first; row < first + rows; ++row)
      for (std::size_t s = 0; s * span_ < band_.cols; ++s) {
        Group group{static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(s), 0, 0, 0};
        group.loss = loss(group);
        look_for_gain(group);
        if (group.gain() > 0) groups.push(group);
      }
    std::array<std::size_t, kOutlierRows> counts{};
    while (places > 0 && !groups.empty()) {
      Group group = groups.top();
      groups.pop();
      if (counts[group.row - first] == most_of_row_) continue;
      ++counts[group.row - first];
      --places;
      mark(group, group.column) = 1;
      group.loss = loss(group);
      look_for_gain(group);
      if (group.gain() > 0) groups.push(group);
    }
  }

 private:
  std::size_t columns(const Group& group) const { return std::min(span_, band_.cols - group.span * span_); }
  std::uint8_t& mark(const Group& group, std::size_t column) {
    return is_outlier_[group.row * band_.cols + group.span * span_ + column];
  }

  // The group's error on the grid that it gets without its outliers; errors_ has each weight's.
  double loss(const Group& group) {
    const std::size_t n = columns(group), begin = group.span * span_;
    for (std::size_t i = 0; i < n; ++i) {
      const bool is_in = mark(group, i) == 0;
      x_[i] = is_in ? band_.values[group.row * band_.cols + begin + i] : 0;
      if (!weights_.empty()) weights_[i] = is_in ? importance_[begin + i] : 0;
    }
    format_.fit(std::span(x_).first(n), std::span(weights_).first(weights_.empty() ? 0 : n), band_.tensor_grid,
                band_.first_row + group.row, band_.fit, grid_.data(), group.span);
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
      float value = 0;
      format_.value(grid_.data(), i, format_.nearest(grid_.data(), i, &x_[i], nullptr), &value);
      const float error = x_[i] - value, cost = costs_.empty() ? 1 : costs_[begin + i];
      errors_[i] = mark(group, i) == 0 ? error * error * cost : 0;
      sum += static_cast<double>(errors_[i]);
    }
    return sum;
  }

  // Behind loss(): of the ends of the group's range and its costliest error that whose leaving gains most.
  void look_for_gain(Group& group) {
    const std::size_t n = columns(group);
    std::array<std::size_t, 3> candidates{};
    for (std::size_t i = 1; i < n; ++i) {
      if (x_[i] > x_[candidates[0]]) candidates[0] = i;
      if (x_[i] < x_[candidates[1]]) candidates[1] = i;
      if (errors_[i] > errors_[candidates[2]]) candidates[2] = i;
    }
    group.loss_without = group.loss;
    for (std::size_t c = 0; c < candidates.size(); ++c) {
      const std::size_t at = candidates[c];
      if (mark(group, at) != 0 || std::find(candidates.begin(), candidates.begin() + c, at) != candidates.begin() + c)
        continue;
      mark(group, at) = 1;
      const double without = loss(group);
      mark(group, at) = 0;
      if (!(without < group.loss_without)) continue;
      group.loss_without = without;
      group.column = static_cast<std::uint32_t>(at);
    }
  }

  const Format& format_;
  const RoundBand& band_;
  std::span<const float> importance_, costs_;
  std::size_t most_of_row_, span_;
  std::uint8_t* is_outlier_ = nullptr;
  std::vector<std::byte> grid_;
  std::vector<float> x_, errors_, weights_;
};

}  // namespace

BandOutliers::BandOutliers(const OutlierFormat& format, const RoundBand& band, std::span<const float> importance,
                           std::span<const float> costs, ThreadPool& pool)
    : format_(format), rows_(band.rows), cols_(band.cols), is_outlier_(rows_ * cols_), row_begin_(rows_ + 1) {
  pool.parallel_for((rows_ + kOutlierRows - 1) / kOutlierRows, 1, [&](std::size_t begin, std::size_t end, std::size_t) {
    TileChoice choice(format, band, importance, costs);
    for (std::size_t tile = begin; tile < end; ++tile) {
      const std::size_t first = tile * kOutlierRows, rows = std::min(kOutlierRows, rows_ - first);
      choice.choose(first, rows, format.places(rows, cols_), is_outlier_.data());
    }
  });
  for (std::size_t row = 0; row < rows_; ++row) {
    for (std::size_t col = 0; col < cols_; ++col)
      if (has(row, col))
        outliers_.push_back({static_cast<std::uint16_t>(row % kOutlierRows), static_cast<std::uint16_t>(col), 0});
    row_begin_[row + 1] = outliers_.size();
  }
}

float BandOutliers::stored(float wanted) {
  return f16_to_f32(f32_to_f16(std::clamp(wanted, -kLargestHalf, kLargestHalf)));
}

void BandOutliers::leave_out(std::size_t row, std::size_t first, std::span<float> x,
                             std::span<float> importance) const {
  for (const Outlier& outlier : of_row(row)) {
    if (outlier.column < first || outlier.column >= first + x.size()) continue;
    x[outlier.column - first] = 0;
    if (!importance.empty()) importance[outlier.column - first] = 0;
  }
}

bool BandOutliers::has_any(std::size_t row, std::size_t first, std::size_t cols) const {
  return std::ranges::any_of(
      of_row(row), [=](const Outlier& outlier) { return outlier.column >= first && outlier.column < first + cols; });
}

void BandOutliers::write(QuantizedTensor& out) const {
  for (std::size_t first = 0; first < rows_; first += kOutlierRows) {
    const std::size_t last = std::min(rows_, first + kOutlierRows);
    format_.write(std::span(outliers_).subspan(row_begin_[first], row_begin_[last] - row_begin_[first]), cols_,
                  out.row(first));
  }
}

Outlier& BandOutliers::find(std::size_t row, std::size_t col) {
  const auto begin = outliers_.begin() + static_cast<std::ptrdiff_t>(row_begin_[row]),
             end = outliers_.begin() + static_cast<std::ptrdiff_t>(row_begin_[row + 1]);
  return *std::ranges::lower_bound(begin, end, col, {}, &Outlier::column);
}

}  // namespace nibble
