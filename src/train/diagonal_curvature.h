// SPDX-License-Identifier: Apache-2.0
//
// How an error bends in each weight of a matrix by itself, the diagonal of Gauss and Newton's matrix (or Fisher's), as
// a product of rows and columns: gradients of random directions have it for their mean square (Hutchinson 1990), which
// is averaged over a row and over a column, since single weights would take too many directions.
//
//   CurvatureSums sums(rows, cols);
//   for (probe ...) { backward(random directions); sums.add(weight.gradient); }
//   const Curvature curvature = sums.curvature(2.0 / probes / outputs);
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace nibble {

// The second derivative of an error by each weight of a matrix, about rows[r] * cols[c]; 0: nothing is known.
struct Curvature {
  std::vector<float> rows, cols;
};

class CurvatureSums {
 public:
  CurvatureSums(std::uint64_t rows, std::uint64_t cols) : rows_(rows), cols_(cols) {}

  void add(std::span<const float> gradient);  // [rows, cols], squared
  // factor times the sums; a row or column has at least a thousandth of the mean.
  Curvature curvature(double factor) const;

 private:
  std::vector<double> rows_, cols_;
};

}  // namespace nibble
