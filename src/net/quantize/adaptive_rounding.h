// SPDX-License-Identifier: Apache-2.0
//
// AdaRound (Nagel et al. 2020, Up or Down? Adaptive Rounding for Post-Training Quantization, arXiv:2004.10568): whether
// each weight of a layer goes to the point below it or above it is learned, on a grid that stays, from what the layer
// makes. A weight w of scale s is s (floor(w / s) + h(V)) while it learns, h = min(1, max(0, 1.2 sigmoid(V) - 0.1)),
// and with T tokens x, outputs y and the activation a behind them the loss of a row is
//
//   1/T sum (a(x w + b) - y)^2 / E  +  lambda * mean of 1 - |2 h - 1|^beta
//
// where E is what the rounding that it begins from makes of the first sum, so that lambda means the same in any layer.
// Rows are independent of each other. The inputs x are those that rounded layers make, the outputs y those of the net
// in f32. One thread at a time; the same bits for any number of threads.
//
//   AdaptiveRounding learning(rows, options, machine);
//   learning.learn();
//   const std::vector<std::int8_t> codes = learning.codes();
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

#include "kernels/machine.h"
#include "net/quantize/learned_layers.h"

namespace nibble {

// What the rounding of a weight counts for beside the error; |2 h - 1| to a power that falls from the first to the last
// once it counts, which it does not in the first share of the steps.
inline constexpr double kRoundingWeight = 10, kFirstPower = 20, kLastPower = 2, kWarmUp = 0.2;

// Rows of a layer that read the same inputs. Everything is borrowed.
struct RowsToRound {
  std::size_t rows = 0, cols = 0;
  std::span<const float> weights;  // [rows, cols]
  std::span<const float> scales;   // [rows], positive
  std::span<const float> bias;     // [rows], or none
  int low = -8, high = 7;          // codes
  // [rows, cols] that another rounding chose, or none: the nearest. V begins on the way from the weights to them.
  std::span<const std::int8_t> chosen = {};
  // The activation behind: what is made is clamped to this.
  float least = -std::numeric_limits<float>::infinity(), most = std::numeric_limits<float>::infinity();
  std::span<const float> x;  // [tokens, cols], in random order
  std::span<const float> y;  // [tokens, rows], clamped

  std::size_t tokens() const { return x.size() / cols; }
};

// The mean square of what these weights [rows, cols] make less what they should, by row.
std::vector<double> row_errors(const RowsToRound& rows, std::span<const float> weights, Machine& machine);

class AdaptiveRounding {
 public:
  // All three outlive this.
  AdaptiveRounding(const RowsToRound& rows, const AdaptiveRoundingOptions& options, Machine& machine);

  // The loss of so many tokens from the first on, summed over the rows, and its slopes by V. beta 0: lambda counts for
  // nothing. Rows that have no error to begin with have none of both.
  double loss(std::size_t first, std::size_t count, double beta);
  void find_slopes(std::size_t first, std::size_t count, double beta);
  void learn();

  std::span<float> variables() { return variables_; }        // V, [rows, cols]
  std::span<const float> slopes() const { return slopes_; }  // of the last find_slopes
  std::vector<std::int8_t> codes() const;                    // [rows, cols], of the points that V is nearest to

 private:
  float softly(std::size_t i) const;  // h(V)
  void make(std::size_t first, std::size_t count);

  const RowsToRound& rows_;
  const AdaptiveRoundingOptions& options_;
  Machine& machine_;
  std::vector<float> floors_, variables_, slopes_;  // [rows, cols]
  std::vector<float> shares_;                       // [rows]: 1 / E, or 0
  std::vector<float> turned_, made_, by_weight_;    // [cols, rows], [tokens, rows], [rows, cols]
};

}  // namespace nibble
