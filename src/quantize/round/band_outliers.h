// SPDX-License-Identifier: Apache-2.0
//
// The weights of a band that are kept beside its codes (format/outlier_format.h), from their choice to their bytes.
// Internal to round/.
//
// Chosen tile by tile: the weight whose leaving its group lowers the group's error most goes first (SpQR's
// leave-one-out test, Dettmers et al. 2023), the group is fitted without it, and so on until the tile has no place or
// no group gains; groups of 1024 columns and more leave a weight for each 512 out at a time. An error is that of a
// weight's nearest value, squared, times what its column's errors cost.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "format/outlier_format.h"
#include "quantize/round/rounder.h"

namespace nibble {

class BandOutliers {
 public:
  // importance: what grids are fitted by, [cols] or empty. costs: [cols], or empty: of every column the same. The same
  // choice for any number of threads.
  BandOutliers(const OutlierFormat& format, const RoundBand& band, std::span<const float> importance,
               std::span<const float> costs, ThreadPool& pool);

  bool has(std::size_t row, std::size_t col) const { return is_outlier_[row * cols_ + col] != 0; }
  // The columns of a row's, ascending.
  std::span<const Outlier> of_row(std::size_t row) const {
    return std::span(outliers_).subspan(row_begin_[row], row_begin_[row + 1] - row_begin_[row]);
  }
  float addend(std::size_t row, std::size_t col) const {
    return const_cast<BandOutliers*>(this)->find(row, col).addend;
  }
  // What is kept of an addend: the nearest number of f16.
  static float stored(float wanted);
  void keep(std::size_t row, std::size_t col, float stored) { find(row, col).addend = stored; }
  // The outliers of a run of columns out of what its grid is fitted to: zeros that weigh nothing. x, importance (or
  // empty): of columns first .. first + x.size() - 1.
  void leave_out(std::size_t row, std::size_t first, std::span<float> x, std::span<float> importance) const;
  bool has_any(std::size_t row, std::size_t first, std::size_t cols) const;

  void write(QuantizedTensor& out) const;

 private:
  Outlier& find(std::size_t row, std::size_t col);

  const OutlierFormat& format_;
  std::size_t rows_, cols_;
  std::vector<std::uint8_t> is_outlier_;  // [rows, cols]
  std::vector<Outlier> outliers_;         // by row and column
  std::vector<std::size_t> row_begin_;    // [rows + 1]
};

}  // namespace nibble
