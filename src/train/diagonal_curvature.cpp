// SPDX-License-Identifier: Apache-2.0
#include "train/diagonal_curvature.h"

#include <numeric>

namespace nibble {
namespace {

constexpr double kLeast = 1e-3;  // of a row or column, as a share of the mean

std::vector<float> shares_of(const std::vector<double>& sums, double mean, double size) {
  std::vector<float> shares;
  for (const double sum : sums)
    shares.push_back(mean == 0 ? 0.0F : static_cast<float>(size * std::max(sum / mean, kLeast)));
  return shares;
}

}  // namespace

void CurvatureSums::add(std::span<const float> gradient) {
  const std::size_t width = cols_.size();
  for (std::size_t i = 0; i < gradient.size(); ++i) {
    const double square = static_cast<double>(gradient[i]) * static_cast<double>(gradient[i]);
    rows_[i / width] += square;
    cols_[i % width] += square;
  }
}

Curvature CurvatureSums::curvature(double factor) const {
  const double sum = std::accumulate(rows_.begin(), rows_.end(), 0.0), of_row = sum / static_cast<double>(rows_.size()),
               of_col = sum / static_cast<double>(cols_.size());
  return {shares_of(rows_, of_row, of_row * factor / static_cast<double>(cols_.size())), shares_of(cols_, of_col, 1)};
}

}  // namespace nibble
