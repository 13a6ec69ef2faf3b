// SPDX-License-Identifier: Apache-2.0
//
// Grids of super-blocks whose sub-blocks have a signed scale only, a small integer times one half (Q3_K, Q6_K):
//
//   value = d * scale[s] * code,   codes kLow .. kHigh with -kLow = kHigh + 1
//
// The sign of a scale decides at which end the extra code lies. The search is that of sub_block_affine.h with one parameter less.
#pragma once

#include <cstdint>
#include <iterator>

#include "format/sub_blocks.h"

namespace nibble {

// d is a half held as a float. step and inverse follow from the rest: derive() fills them.
template <std::size_t kSubs>
struct SubScaledSymmetricGrid {
  float d = 0;
  std::int8_t scales[kSubs] = {};
  float step[kSubs] = {}, inverse[kSubs] = {};

  void derive() {
    for (std::size_t s = 0; s < kSubs; ++s) {
      step[s] = d * static_cast<float>(scales[s]);
      inverse[s] = step[s] != 0 ? 1.F / step[s] : 0.F;
    }
  }
};

struct ScaleNeighbour {
  float sign, change;
};

// Shape has kSubs (16), the codes kLow .. kHigh, kMaxScale, and what is tried: kPeakCodes, the (fractional) codes at which the first
// guesses put the largest value of a sub-block, and kNeighbours, the scales sign * scale + change around the integer found.
template <class Shape>
class SymmetricSearch {
  static constexpr std::size_t kSubs = Shape::kSubs;
  static constexpr int kLow = Shape::kLow, kHigh = Shape::kHigh, kMaxScale = Shape::kMaxScale;
  static_assert(kSubs == kLanes);

 public:
  using Grid = SubScaledSymmetricGrid<kSubs>;

  // values: 256, finite; importance: null or 256 non-negative weights.
  SymmetricSearch(const float* values, const float* importance) : block_(values, importance) {}

  Grid run() { return refine(Shape::kRounds); }
  // The range of each sub-block as it is, no search.
  Grid whole_ranges() { return refine(0); }

 private:
  Grid refine(int num_rounds) {
    Grid best;
    if (block_.largest < kSmallestSearched) return best;
    search_ranges(num_rounds > 0);
    Grid grid = first_grid();
    best = grid;
    float best_error = HUGE_VALF;
    for (int round = 0; round < num_rounds; ++round) {
      refit_d(grid);
      const float error = descend(grid);
      if (error < best_error) best_error = error, best = grid;
    }
    return best;
  }

  SubBlocks<kSubs> block_;
  alignas(64) float scale_[kSubs];          // the real-valued guess
  alignas(64) float xq_[kSubs], qq_[kSubs];  // sums over one pass: w x q, w q q

  // Codes at the nearest points, and their sums.
  void pass(const float* inverse) {
    alignas(64) float xq[kLanes] = {}, qq[kLanes] = {};
    for (std::size_t e = 0; e < kLaneLength; ++e)
      for (std::size_t s = 0; s < kSubs; ++s) {
        const float code = to_nearest_even(clamp_to(block_.x[e][s] * inverse[s], kLow, kHigh));
        const float wq = block_.w[e][s] * code;
        xq[s] += wq * block_.x[e][s];
        qq[s] += wq * code;
      }
    std::copy(xq, xq + kLanes, xq_);
    std::copy(qq, qq + kLanes, qq_);
  }

  // The real scale of each sub-block that explains most of it: the gain of the least-squares scale is (sum w x q)^2 / sum w q q.
  void search_ranges(bool try_all) {
    alignas(64) float low[kSubs] = {}, high[kSubs] = {}, peak[kSubs], best[kSubs] = {}, inverse[kSubs];
    for (std::size_t e = 0; e < kLaneLength; ++e)
      for (std::size_t s = 0; s < kSubs; ++s) {
        low[s] = block_.x[e][s] < low[s] ? block_.x[e][s] : low[s];
        high[s] = block_.x[e][s] > high[s] ? block_.x[e][s] : high[s];
      }
    for (std::size_t s = 0; s < kSubs; ++s) {
      peak[s] = high[s] > -low[s] ? high[s] : low[s];
      scale_[s] = peak[s] / kLow;
    }
    if (!try_all) return;
    for (const float code : Shape::kPeakCodes) {
      for (std::size_t s = 0; s < kSubs; ++s) inverse[s] = peak[s] != 0 ? code / peak[s] : 0.F;
      pass(inverse);
      for (std::size_t s = 0; s < kSubs; ++s) {
        const float gain = qq_[s] > 0 ? xq_[s] * xq_[s] / qq_[s] : 0.F;
        const bool better = gain > best[s];
        best[s] = better ? gain : best[s];
        scale_[s] = better ? xq_[s] / qq_[s] : scale_[s];
      }
    }
  }

  Grid first_grid() const {
    Grid grid;
    float largest = 0;
    for (std::size_t s = 0; s < kSubs; ++s) largest = std::max(largest, std::fabs(scale_[s]));
    grid.d = nearest_scale(largest / kMaxScale);
    for (std::size_t s = 0; s < kSubs; ++s)
      grid.scales[s] = static_cast<std::int8_t>(to_nearest_even(clamp_to(scale_[s] / grid.d, -kMaxScale - 1, kMaxScale)));
    grid.derive();
    return grid;
  }

  // Least squares for d, integers and codes unchanged.
  void refit_d(Grid& grid) {
    pass(grid.inverse);
    double xq = 0, qq = 0;
    for (std::size_t s = 0; s < kSubs; ++s) {
      const double scale = grid.scales[s];
      xq += scale * xq_[s];
      qq += scale * scale * qq_[s];
    }
    if (!(xq > 0 && qq > 0)) return;
    grid.d = nearest_scale(static_cast<float>(xq / qq));
    grid.derive();
  }

  void measure_errors(const float* step, const float* inverse, float* error) const {
    alignas(64) float sum[kLanes] = {};
    for (std::size_t e = 0; e < kLaneLength; ++e)
      for (std::size_t s = 0; s < kSubs; ++s) {
        const float code = to_nearest_even(clamp_to(block_.x[e][s] * inverse[s], kLow, kHigh));
        const float residual = block_.x[e][s] - step[s] * code;
        sum[s] += block_.w[e][s] * residual * residual;
      }
    std::copy(sum, sum + kLanes, error);
  }

  // Moves each sub-block to the best of the neighbours of its integer and returns the error of the super-block.
  float descend(Grid& grid) const {
    alignas(64) float scale[kSubs], candidate[kSubs], best[kSubs], best_scale[kSubs], step[kSubs], inverse[kSubs], error[kSubs];
    for (std::size_t s = 0; s < kSubs; ++s) {
      best_scale[s] = scale[s] = grid.scales[s];
      best[s] = HUGE_VALF;
    }
    for (const ScaleNeighbour& neighbour : Shape::kNeighbours) {
      for (std::size_t s = 0; s < kSubs; ++s) {
        candidate[s] = clamp_to(neighbour.sign * scale[s] + neighbour.change, -kMaxScale - 1, kMaxScale);
        step[s] = grid.d * candidate[s];
        inverse[s] = step[s] != 0 ? 1.F / step[s] : 0.F;
      }
      measure_errors(step, inverse, error);
      for (std::size_t s = 0; s < kSubs; ++s) {
        const bool better = error[s] < best[s];
        best[s] = better ? error[s] : best[s];
        best_scale[s] = better ? candidate[s] : best_scale[s];
      }
    }
    float total = 0;
    for (std::size_t s = 0; s < kSubs; ++s) {
      grid.scales[s] = static_cast<std::int8_t>(best_scale[s]);
      total += best[s];
    }
    grid.derive();
    return total;
  }
};

}  // namespace nibble
