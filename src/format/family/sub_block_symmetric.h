// SPDX-License-Identifier: Apache-2.0
//
// Grids of super-blocks whose sub-blocks have a signed scale only, a small integer times one half (Q3_K, Q6_K, IQ4_XS):
//
//   value = d * scale[s] * point
//
// The points reach a little further on the negative side; the sign of a scale decides which side of the values that is.
// The search is that of sub_block_affine.h with one parameter less.
#pragma once

#include <cstdint>

#include "format/family/sub_blocks.h"

namespace nibble {

// d is a half held as a float. step and inverse follow from the rest: derive() fills them.
template <std::size_t kSubs>
struct SubScaledSymmetricGrid {
  float d = 0;
  std::int8_t scales[kSubs] = {};
  float step[kSubs] = {}, inverse[kSubs] = {};

  [[gnu::always_inline]] void derive() {
    for (std::size_t s = 0; s < kSubs; ++s) {
      step[s] = d * static_cast<float>(scales[s]);
      inverse[s] = step[s] != 0 ? 1.F / step[s] : 0.F;
    }
  }
};

struct ScaleNeighbour {
  float sign, change;
};

inline namespace NIBBLE_LANES {

// Shape has kSubs (8 or 16), nearest_points() of values in steps (round() for a single one), the lowest point kLow,
// kMaxScale, and what is tried: kPeaks, where among the points the first guesses put the largest value of a sub-block;
// kStarts, which integers the largest scale starts at (beyond kMaxScale: it is clipped, and the many small scales get a
// finer unit); kNeighbours, the scales sign * scale + change around the integer found; kRounds of that.
template <class Shape>
class SymmetricSearch {
  static constexpr std::size_t kSubs = Shape::kSubs;
  static constexpr int kLow = Shape::kLow, kMaxScale = Shape::kMaxScale;

 public:
  using Grid = SubScaledSymmetricGrid<kSubs>;

  // values: 256, finite; importance: null or 256 non-negative weights.
  SymmetricSearch(const float* values, const float* importance) : block_(values, importance) {}

  Grid run() { return block_.weighted ? refine<true>(Shape::kRounds) : refine<false>(Shape::kRounds); }
  // The range of each sub-block as it is, no search.
  Grid whole_ranges() { return refine<false>(0); }

 private:
  template <bool kWeighted>
  Grid refine(int num_rounds) {
    Grid best;
    if (block_.largest < kSmallestSearched) return best;
    search_ranges<kWeighted>(num_rounds > 0);
    if (num_rounds == 0) return first_grid(kMaxScale);
    float best_error = HUGE_VALF;
    for (const float largest_scale : Shape::kStarts) {
      Grid grid = first_grid(largest_scale);
      for (int round = 0; round < num_rounds; ++round) {
        refit_d<kWeighted>(grid);
        const float error = descend<kWeighted>(grid);
        if (error < best_error) best_error = error, best = grid;
      }
    }
    return best;
  }

  struct Sums {
    Lanes xq, qq;  // w x q, w q q
  };

  SubBlocks<kSubs> block_;
  Lanes scale_;  // the real-valued guess

  // Codes at the nearest points, and their sums.
  template <bool kWeighted>
  [[gnu::always_inline]] Sums pass(const Lanes& inverses) const {
    Sums sums;
    for (std::size_t v = 0; v < kVectors; ++v) {
      Vector xq{}, qq{};
      for (std::size_t e = 0; e < kLaneLength; ++e) {
        const Vector x = load(block_.x[e] + v * kWidth);
        const Vector code = Shape::nearest_points(x * inverses[v]);
        const Vector wq = block_.template weigh<kWeighted>(e, v, code);
        xq += wq * x;
        qq += wq * code;
      }
      sums.xq[v] = xq;
      sums.qq[v] = qq;
    }
    block_.join(sums.xq);
    block_.join(sums.qq);
    return sums;
  }

  Lanes measure_peaks() const {
    Lanes low, high, peaks;
    for (std::size_t v = 0; v < kVectors; ++v) {
      Vector lowest{}, highest{};
      for (std::size_t e = 0; e < kLaneLength; ++e) {
        const Vector x = load(block_.x[e] + v * kWidth);
        lowest = min(x, lowest);
        highest = max(x, highest);
      }
      low[v] = lowest;
      high[v] = highest;
    }
    if constexpr (kSubs == 8) {
      const Lanes other_low = swap_halves(low), other_high = swap_halves(high);
      for (std::size_t v = 0; v < kVectors; ++v) {
        low[v] = min(low[v], other_low[v]);
        high[v] = max(high[v], other_high[v]);
      }
    }
    for (std::size_t v = 0; v < kVectors; ++v) peaks[v] = high[v] > -low[v] ? high[v] : low[v];
    return peaks;
  }

  // The real scale of each sub-block that explains most of it: the gain of the least-squares scale is (sum w x q)^2 /
  // sum w q q.
  template <bool kWeighted>
  void search_ranges(bool try_all) {
    const Lanes peaks = measure_peaks();
    for (std::size_t v = 0; v < kVectors; ++v) scale_[v] = peaks[v] / static_cast<float>(kLow);
    if (!try_all) return;
    Lanes best{}, inverses;
    for (const float code : Shape::kPeaks) {
      for (std::size_t v = 0; v < kVectors; ++v) inverses[v] = code * inverse_or_zero(peaks[v]);
      const Sums sums = pass<kWeighted>(inverses);
      for (std::size_t v = 0; v < kVectors; ++v) {
        const Vector xq = sums.xq[v], by_qq = inverse_or_zero(sums.qq[v]);
        const Vector gain = xq * xq * by_qq;
        scale_[v] = gain > best[v] ? xq * by_qq : scale_[v];
        best[v] = max(gain, best[v]);
      }
    }
  }

  Grid first_grid(float largest_scale) const {
    Grid grid;
    alignas(64) float scale[kLanes];
    store(scale, scale_);
    float largest = 0;
    for (std::size_t s = 0; s < kSubs; ++s) largest = std::max(largest, std::fabs(scale[s]));
    grid.d = nearest_scale(largest / largest_scale);
    for (std::size_t s = 0; s < kSubs; ++s)
      grid.scales[s] =
          static_cast<std::int8_t>(to_nearest_even(clamp_to(scale[s] / grid.d, -kMaxScale - 1, kMaxScale)));
    grid.derive();
    return grid;
  }

  // Least squares for d, integers and codes unchanged.
  template <bool kWeighted>
  void refit_d(Grid& grid) {
    alignas(64) float lanes[kLanes], lane_xq[kLanes], lane_qq[kLanes];
    for (std::size_t l = 0; l < kLanes; ++l) lanes[l] = grid.inverse[l % kSubs];
    const Sums sums = pass<kWeighted>(load_lanes(lanes));
    store(lane_xq, sums.xq);
    store(lane_qq, sums.qq);
    double xq = 0, qq = 0;
    for (std::size_t s = 0; s < kSubs; ++s) {
      const double scale = grid.scales[s];
      xq += scale * lane_xq[s];
      qq += scale * scale * lane_qq[s];
    }
    if (!(xq > 0 && qq > 0)) return;
    grid.d = nearest_scale(static_cast<float>(xq / qq));
    grid.derive();
  }

  // Codes at the nearest points and the error they leave in each sub-block.
  template <bool kWeighted>
  [[gnu::always_inline]] Lanes measure_errors(const Lanes& steps) const {
    Lanes errors;
    for (std::size_t v = 0; v < kVectors; ++v) {
      const Vector step = steps[v], inverse = inverse_or_zero(step);
      Vector error{};
      for (std::size_t e = 0; e < kLaneLength; ++e) {
        const Vector x = load(block_.x[e] + v * kWidth);
        const Vector residual = x - step * Shape::nearest_points(x * inverse);
        error += block_.template weigh<kWeighted>(e, v, residual) * residual;
      }
      errors[v] = error;
    }
    block_.join(errors);
    return errors;
  }

  // Moves each sub-block to the best of the neighbours of its integer and returns the error of the super-block.
  template <bool kWeighted>
  float descend(Grid& grid) const {
    alignas(64) float lanes[kLanes], scales[kLanes];
    for (std::size_t l = 0; l < kLanes; ++l) lanes[l] = grid.scales[l % kSubs];
    const Lanes scale = load_lanes(lanes);
    Lanes best, best_scale = scale, candidate, steps;
    for (std::size_t v = 0; v < kVectors; ++v) best[v] = splat(HUGE_VALF);
    for (const ScaleNeighbour& neighbour : Shape::kNeighbours) {
      for (std::size_t v = 0; v < kVectors; ++v) {
        candidate[v] = clamp(neighbour.sign * scale[v] + neighbour.change, -kMaxScale - 1, kMaxScale);
        steps[v] = grid.d * candidate[v];
      }
      const Lanes errors = measure_errors<kWeighted>(steps);
      for (std::size_t v = 0; v < kVectors; ++v) {
        best_scale[v] = errors[v] < best[v] ? candidate[v] : best_scale[v];
        best[v] = min(errors[v], best[v]);
      }
    }
    store(lanes, best);
    store(scales, best_scale);
    float total = 0;
    for (std::size_t s = 0; s < kSubs; ++s) {
      grid.scales[s] = static_cast<std::int8_t>(scales[s]);
      total += lanes[s];
    }
    grid.derive();
    return total;
  }
};

}  // namespace NIBBLE_LANES

}  // namespace nibble
