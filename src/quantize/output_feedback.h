// SPDX-License-Identifier: Apache-2.0
//
// Errors of a row made good by the rows that are rounded after it, where errors of outputs cost more or less together:
// with the loss tr(O E I E^T) of errors E [rows, cols] (original minus stored) and O = S S^T, S upper triangular in the
// order of rounding, it is the sum over rows J of
//
//   S_JJ^2 | (E_J + sum over K < J of N_KJ E_K) |^2 in the metric I,    N_KJ = S_KJ / S_JJ,
//
// so that a row's best target is its weights plus the feedback of the errors made before it, and whoever rounds it for
// that target by I alone, by feedback between columns or otherwise, does the rest (YAQA, Tseng et al. 2025, whose
// target W + L_O^T E L_I + L_O^T E + E L_I this is, an element at a time). Some rows are rounded at a time, without
// feedback among them: J and K are such blocks then, and N_KJ = S_KJ S_JJ^-1. Immutable.
//
//   OutputFeedback::Targets targets(feedback, weights, cols, machine);
//   for (; !targets.is_done(); targets.advance(stored)) stored = rounded(targets.values(), targets.rows());
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/machine.h"
#include "quantize/round/feedback_factor.h"

namespace nibble {

class OutputFeedback {
 public:
  // outputs: O, [rows, rows]. together: rows at a time. moves_rows: those that weigh most come first, else the first.
  OutputFeedback(std::span<const float> outputs, std::size_t rows, std::size_t together, bool moves_rows,
                 Machine& machine);

  std::size_t num_rows() const { return factor_.cols(); }

  // Rows on their way. One thread at a time; the pool does the work.
  class Targets {
   public:
    // weights: [rows, cols], borrowed.
    Targets(const OutputFeedback& feedback, std::span<const float> weights, std::size_t cols, Machine& machine);

    bool is_done() const { return block_ == factor_.num_blocks(); }
    std::span<const std::uint32_t> rows() const;                // that are to be rounded now
    std::span<const float> values() const { return targets_; }  // [those, cols]
    // What they have become.
    void advance(std::span<const float> stored);

   private:
    void aim();

    const FeedbackFactor& factor_;
    std::span<const float> weights_;
    std::size_t cols_, block_ = 0;
    Machine& machine_;
    std::vector<float> errors_;  // [rows, cols] in the order of rounding, of those that are done
    std::vector<float> targets_;
  };

 private:
  FeedbackFactor factor_;
};

}  // namespace nibble
