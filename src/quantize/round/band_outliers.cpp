// SPDX-License-Identifier: Apache-2.0
#include "quantize/round/band_outliers.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <queue>

namespace nibble {
namespace {

constexpr float kLargestHalf = 65504;

constexpr std::size_t kColumnsOfStep = 512;  // a group of so many leaves one weight out at a time

// A group of a tile: what it loses now, and what it would lose without the weights that it gains most by.
struct Group {
  std::uint32_t row, span;
  double loss, loss_without;
  std::vector<std::uint32_t> columns;  // of these, within the group, the first ones first

  // For each of them.
  double gain() const { return columns.empty() ? 0 : (loss - loss_without) / static_cast<double>(columns.size()); }
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
        Group group{static_cast<std::uint32_t>(row), static_cast<std::uint32_t>(s), 0, 0, {}};
        group.loss = loss(group);
        look_for_gain(group);
        if (group.gain() > 0) groups.push(std::move(group));
      }
    std::array<std::size_t, kOutlierRows> counts{};
    while (places > 0 && !groups.empty()) {
      Group group = groups.top();
      groups.pop();
      std::size_t& of_row = counts[group.row - first];
      const std::size_t step = std::min({group.columns.size(), places, most_of_row_ - of_row});
      if (step == 0) continue;
      of_row += step;
      places -= step;
      for (std::size_t i = 0; i < step; ++i) mark(group, group.columns[i]) = 1;
      group.loss = loss(group);
      look_for_gain(group);
      if (group.gain() > 0) groups.push(std::move(group));
    }
  }

 private:
  std::size_t columns(const Group& group) const { return std::min(span_, band_.cols - group.span * span_); }
  std::uint8_t& mark(const Group& group, std::size_t column) {
    return is_outlier_[group.row * band_.cols + group.span * span_ + column];
  }

  // The group's error on the grid that it gets without its outliers, of which there is an error as far as no addend
  // reaches; errors_ has each weight's.
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
      const float cost = costs_.empty() ? 1 : costs_[begin + i];
      float error = x_[i] - value;
      if (mark(group, i) != 0) {
        const float wanted = band_.values[group.row * band_.cols + begin + i] - value;
        error = std::max(0.0F, std::fabs(wanted) - kLargestHalf);
      }
      errors_[i] = error * error * cost;
      sum += static_cast<double>(errors_[i]);
    }
    return sum;
  }

  // Behind loss(): of the ends of the group's range, its largest magnitudes and its costliest errors those whose
  // leaving gains most. Long groups leave several out at a time, so that their grids are fitted as often as short ones.
  void look_for_gain(Group& group) {
    const std::size_t n = columns(group), step = std::max<std::size_t>(1, n / kColumnsOfStep);
    std::array<std::vector<std::uint32_t>, 4> candidates;
    candidates[0] = largest(n, step, [&](std::size_t i) { return x_[i]; });
    candidates[1] = largest(n, step, [&](std::size_t i) { return -x_[i]; });
    candidates[2] = largest(n, step, [&](std::size_t i) { return errors_[i]; });
    if (step > 1) candidates[3] = largest(n, step, [&](std::size_t i) { return std::fabs(x_[i]); });
    group.loss_without = group.loss;
    group.columns.clear();
    for (std::size_t c = 0; c < candidates.size(); ++c) {
      std::vector<std::uint32_t>& columns = candidates[c];
      std::erase_if(columns, [&](std::uint32_t at) { return mark(group, at) != 0; });
      if (columns.empty() || std::find(candidates.begin(), candidates.begin() + c, columns) != candidates.begin() + c)
        continue;
      for (const std::uint32_t at : columns) mark(group, at) = 1;
      const double without = loss(group);
      for (const std::uint32_t at : columns) mark(group, at) = 0;
      if (!(without < group.loss_without)) continue;
      group.loss_without = without;
      group.columns = columns;
    }
  }

  // The first `count` of n columns by what they measure, the largest first; of equal ones the first.
  template <class Measure>
  std::vector<std::uint32_t> largest(std::size_t n, std::size_t count, const Measure& measure) {
    std::vector<std::uint32_t> columns(n);
    std::iota(columns.begin(), columns.end(), 0U);
    const auto before = [&](std::uint32_t a, std::uint32_t b) {
      return measure(a) != measure(b) ? measure(a) > measure(b) : a < b;
    };
    const auto middle = columns.begin() + static_cast<std::ptrdiff_t>(count);
    std::partial_sort(columns.begin(), middle, columns.end(), before);
    columns.erase(middle, columns.end());
    return columns;
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
