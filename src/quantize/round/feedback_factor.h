// SPDX-License-Identifier: Apache-2.0
//
// The second moment of a Linear's inputs, factored for feedback rounding. With H = R R^T and R upper triangular in the
// order in which columns are rounded, the loss of a row's errors E (original minus stored) is the sum over units J of
//
//   | (E_J + sum over K < J of E_K N_KJ) R_JJ |^2,    N_KJ = R_KJ R_JJ^-1,
//
// so that each unit's best target is its weight plus the feedback of the errors made before it: GPTQ (Frantar et al.
// 2022) in the form of LDLQ (Chee et al. 2023), without an inverse. Immutable, safe to share between threads and by all
// Linears of a site.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/linear/resident_bytes.h"
#include "kernels/machine.h"

namespace nibble {

struct FactorOptions {
  double damp_percent = 0.01;  // of the mean diagonal, added to the diagonal
  bool act_order = true;       // important columns first; needs grids that are fitted beforehand
  std::size_t unit = 1;        // columns coded together
  std::size_t block = 128;     // columns rounded between two products; a multiple of unit
};

class FeedbackFactor {
 public:
  // second_moment: [cols, cols], symmetric. Damping is doubled until the factor exists, so this never fails: what was
  // needed is reported.
  FeedbackFactor(std::span<const float> second_moment, std::size_t cols, const FactorOptions& options,
                 Machine& machine);

  std::size_t cols() const { return cols_; }
  std::size_t unit() const { return unit_; }
  std::size_t block() const { return block_; }
  std::size_t num_blocks() const { return (cols_ + block_ - 1) / block_; }
  std::size_t block_cols(std::size_t b) const { return b + 1 < num_blocks() ? block_ : cols_ - b * block_; }

  // order()[p]: the column that is rounded p-th.
  const std::vector<std::uint32_t>& order() const { return order_; }
  // N of block `from` to block `to` (from <= to), [block_cols(from), block_cols(to)]; within a block zeros on and below
  // the units' diagonal.
  const float* feedback(std::size_t from, std::size_t to) const;
  // R_JJ R_JJ^T of the unit that begins at position p, [unit, unit]: the metric of its error.
  const float* metric(std::size_t p) const { return &metrics_[p / unit_ * unit_ * unit_]; }
  // Its inverse.
  const float* inverse_metric(std::size_t p) const { return &inverse_metrics_[p / unit_ * unit_ * unit_]; }
  // The diagonal of the moment by column, as it was given: how much a column's error weighs by itself.
  const std::vector<float>& diagonal() const { return diagonal_; }
  // What the diagonal was raised by before it was factored, by column: the damping, and more where a column is dead.
  const std::vector<float>& added() const { return added_; }

  double damping() const { return damping_; }           // share of the mean diagonal that was added in the end
  std::uint64_t repairs() const { return repairs_; }    // how often it had to be doubled
  std::uint64_t dead_columns() const { return dead_; }  // columns that calibration never saw in use

 private:
  void choose_order(bool act_order);
  void factor(std::span<const float> second_moment, double damp_percent, Machine& machine);
  void store_panels(const double* reversed, ThreadPool& pool);

  std::size_t cols_, unit_, block_;
  std::vector<std::uint32_t> order_;
  std::vector<std::size_t> panel_start_;  // of block `to`'s panels
  ResidentBytes panels_;
  std::vector<float> metrics_, inverse_metrics_, diagonal_, added_;
  double damping_ = 0;
  std::uint64_t repairs_ = 0, dead_ = 0;
};

}  // namespace nibble
