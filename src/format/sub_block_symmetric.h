// SPDX-License-Identifier: Apache-2.0
//
// Grids of super-blocks whose sub-blocks have a signed scale only, a small integer times one half (Q3_K, Q6_K, IQ4_XS):
//
//   value = d * scale[s] * point
//
// The points reach a little further on the negative side; the sign of a scale decides which side of the values that is. The search is
// that of sub_block_affine.h with one parameter less.
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

// Shape has kSubs (8 or 16), round() to the nearest point, the lowest point kLow, kMaxScale, and what is tried: kPeaks, where among the
// points the first guesses put the largest value of a sub-block, and kNeighbours, the scales sign * scale + change around the integer
// found; kRounds of that.
template <class Shape>
class SymmetricSearch {
  static constexpr std::size_t kSubs = Shape::kSubs;
  static constexpr int kLow = Shape::kLow, kMaxScale = Shape::kMaxScale;

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
  alignas(64) float scale_[kLanes];           // the real-valued guess
  alignas(64) float xq_[kLanes], qq_[kLanes];  // sums over one pass: w x q, w q q

  // Codes at the nearest points, and their sums.
  void pass(const float* inverse) {
    alignas(64) float xq[kLanes] = {}, qq[kLanes] = {};
    for (std::size_t e = 0; e < kLaneLength; ++e)
      for (std::size_t l = 0; l < kLanes; ++l) {
        const float code = Shape::round(block_.x[e][l] * inverse[l]);
        const float wq = block_.w[e][l] * code;
        xq[l] += wq * block_.x[e][l];
        qq[l] += wq * code;
      }
    std::copy(xq, xq + kLanes, xq_);
    std::copy(qq, qq + kLanes, qq_);
    block_.join(xq_);
    block_.join(qq_);
  }

  // The real scale of each sub-block that explains most of it: the gain of the least-squares scale is (sum w x q)^2 / sum w q q.
  void search_ranges(bool try_all) {
    alignas(64) float low[kLanes] = {}, high[kLanes] = {}, peak[kLanes], best[kLanes] = {}, inverse[kLanes];
    for (std::size_t e = 0; e < kLaneLength; ++e)
      for (std::size_t l = 0; l < kLanes; ++l) {
        low[l] = block_.x[e][l] < low[l] ? block_.x[e][l] : low[l];
        high[l] = block_.x[e][l] > high[l] ? block_.x[e][l] : high[l];
      }
    for (std::size_t l = 0; l < kLanes; ++l) {
      const std::size_t first = l % kSubs, last = first + kLanes - kSubs;
      const float lowest = low[first] < low[last] ? low[first] : low[last], highest = high[first] > high[last] ? high[first] : high[last];
      peak[l] = highest > -lowest ? highest : lowest;
      scale_[l] = peak[l] / kLow;
    }
    if (!try_all) return;
    for (const float code : Shape::kPeaks) {
      for (std::size_t l = 0; l < kLanes; ++l) inverse[l] = peak[l] != 0 ? code / peak[l] : 0.F;
      pass(inverse);
      for (std::size_t l = 0; l < kLanes; ++l) {
        const float gain = qq_[l] > 0 ? xq_[l] * xq_[l] / qq_[l] : 0.F;
        const bool better = gain > best[l];
        best[l] = better ? gain : best[l];
        scale_[l] = better ? xq_[l] / qq_[l] : scale_[l];
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
    alignas(64) float inverse[kLanes];
    for (std::size_t l = 0; l < kLanes; ++l) inverse[l] = grid.inverse[l % kSubs];
    pass(inverse);
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
      for (std::size_t l = 0; l < kLanes; ++l) {
        const float code = Shape::round(block_.x[e][l] * inverse[l]);
        const float residual = block_.x[e][l] - step[l] * code;
        sum[l] += block_.w[e][l] * residual * residual;
      }
    block_.join(sum);
    std::copy(sum, sum + kLanes, error);
  }

  // Moves each sub-block to the best of the neighbours of its integer and returns the error of the super-block.
  float descend(Grid& grid) const {
    alignas(64) float scale[kLanes], candidate[kLanes], best[kLanes], best_scale[kLanes], step[kLanes], inverse[kLanes], error[kLanes];
    for (std::size_t l = 0; l < kLanes; ++l) {
      best_scale[l] = scale[l] = grid.scales[l % kSubs];
      best[l] = HUGE_VALF;
    }
    for (const ScaleNeighbour& neighbour : Shape::kNeighbours) {
      for (std::size_t l = 0; l < kLanes; ++l) {
        candidate[l] = clamp_to(neighbour.sign * scale[l] + neighbour.change, -kMaxScale - 1, kMaxScale);
        step[l] = grid.d * candidate[l];
        inverse[l] = step[l] != 0 ? 1.F / step[l] : 0.F;
      }
      measure_errors(step, inverse, error);
      for (std::size_t l = 0; l < kLanes; ++l) {
        const bool better = error[l] < best[l];
        best[l] = better ? error[l] : best[l];
        best_scale[l] = better ? candidate[l] : best_scale[l];
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
