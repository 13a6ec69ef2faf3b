// SPDX-License-Identifier: Apache-2.0
//
// Rows of numbers as 12-bit integers with a scale for each column, for moments: products of integers take half the time of f32's, and sums over up
// to 512 rows are exact. With n rows, what rounding adds to a column's mean square is at most n / (12 * 2047^2) of it, 1e-5 for 512. The same bits
// for any number of threads and on any instruction set.
//
//   RoundedRows x;
//   x.assign(numbers, tokens, width, pool);
//   syrk(x, h, isa, pool, scratch);           // as in dense.h
//   add_outer_products(y, x, c, isa, pool, scratch);
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/cpu.h"
#include "base/thread_pool.h"
#include "kernels/linear.h"

namespace nibble {

class RoundedRows {
 public:
  // x: [rows, cols], finite. Scales are those of these rows: columns that vary much from piece to piece are rounded finely in each.
  void assign(const float* x, std::size_t rows, std::size_t cols, ThreadPool& pool);

  std::size_t cols() const { return cols_; }
  // Two rows in each element, the first in its lower half; a last one without a partner is paired with zeros.
  std::size_t pairs() const { return pairs_; }
  const std::int32_t* data() const { return data_.data(); }  // [pairs, cols]
  const float* scales() const { return scales_.data(); }     // [cols], and zeros up to a multiple of 64

 private:
  std::size_t pairs_ = 0, cols_ = 0;
  std::vector<std::int32_t> data_;
  std::vector<float> scales_;
};

// h[n, n] += x^T x, the lower triangle; what lies above is overwritten with nothing of use.
void syrk(const RoundedRows& x, float* h, Isa isa, ThreadPool& pool, KernelScratch& scratch);
// c[m, n] += y^T x for as many rows of y and x.
void add_outer_products(const RoundedRows& y, const RoundedRows& x, float* c, Isa isa, ThreadPool& pool, KernelScratch& scratch);

}  // namespace nibble
