// SPDX-License-Identifier: Apache-2.0
//
// A stored matrix whose codes stay while the numbers of its grids are trained: scales, biases, zero points, points of
// tables. What is trained are real numbers; what is stored in the end are the nearest that the format has.
//
//   TrainedMatrix matrix(view, pool);
//   matrix.values(weights, pool);                        // the Linear's weights at the numbers as they are
//   matrix.add_gradient(by_weights, by_numbers, pool);   // what the loss's slopes in the weights are in the numbers
//   optimizer.step({{name, 1, matrix.numbers().size(), matrix.numbers(), by_numbers}}, {}, machine);
//   QuantizedTensor made = matrix.store(pool);
#pragma once

#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "format/quantized_tensor.h"
#include "format/row_tiles.h"
#include "format/trainable_grid.h"

namespace nibble {

class TrainedMatrix {
 public:
  // stored is borrowed while this is used. Error(unsupported): a format without free numbers, or with some that a whole
  // tensor shares, and matrices with parts beside codes and grids.
  TrainedMatrix(const QuantizedView& stored, ThreadPool& pool);

  std::uint64_t rows() const noexcept { return stored_.rows; }
  std::uint64_t cols() const noexcept { return stored_.cols; }

  // [rows, spans of a row, numbers of a grid]
  std::span<float> numbers() noexcept { return numbers_; }
  std::span<const float> numbers() const noexcept { return numbers_; }

  // out: [rows, cols]
  void values(std::span<float> out, ThreadPool& pool) const;
  // by_values: [rows, cols], the slopes of a loss in the values; by_numbers: as numbers(), added to. Sums run over a
  // span's columns in order, in f64: the same bits for any number of threads.
  void add_gradient(std::span<const float> by_values, std::span<float> by_numbers, ThreadPool& pool) const;

  // The same codes on the nearest grids that can be stored.
  QuantizedTensor store(ThreadPool& pool) const;

 private:
  struct Span;
  void store_tiles(QuantizedTensor& into, ThreadPool& pool) const;
  template <class Body>
  void each_span(ThreadPool& pool, Body body) const;

  QuantizedView stored_;
  const TrainableGrid* free_;
  const RowTiles* tiles_;                // null: each row is coded by itself
  std::size_t span_, spans_, per_grid_;  // columns of a span, spans of a row, numbers of a grid
  std::vector<float> numbers_;
};

}  // namespace nibble
