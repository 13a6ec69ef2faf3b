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

#include "format/sub_blocks.h"

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

// Shape has kSubs (8 or 16), nearest_points() of values in steps (round() for a single one), the lowest point kLow, kMaxScale, and what
// is tried: kPeaks, where among the points the first guesses put the largest value of a sub-block; kStarts, which integers the largest
// scale starts at (beyond kMaxScale: it is clipped, and the many small scales get a finer unit); kNeighbours, the scales
// sign * scale + change around the integer found; kRounds of that.
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
    if (num_rounds == 0) return first_grid(kMaxScale);
    float best_error = HUGE_VALF;
    for (const float largest_scale : Shape::kStarts) {
      Grid grid = first_grid(largest_scale);
      for (int round = 0; round < num_rounds; ++round) {
        refit_d(grid);
        const float error = descend(grid);
        if (error < best_error) best_error = error, best = grid;
      }
    }
    return best;
  }

  SubBlocks<kSubs> block_;
  alignas(64) float scale_[kLanes];           // the real-valued guess
  alignas(64) float xq_[kLanes], qq_[kLanes];  // sums over one pass: w x q, w q q

  // Codes at the nearest points, and their sums.
  void pass(const float* inverses) {
    for (std::size_t l = 0; l < kLanes; l += kWidth) {
      const Vector inverse = load(inverses + l);
      Vector xq{}, qq{};
      for (std::size_t e = 0; e < kLaneLength; ++e) {
        const Vector x = load(block_.x[e] + l);
        const Vector code = Shape::nearest_points(x * inverse);
        const Vector wq = load(block_.w[e] + l) * code;
        xq += wq * x;
        qq += wq * code;
      }
      store(xq_ + l, xq);
      store(qq_ + l, qq);
    }
    block_.join(xq_);
    block_.join(qq_);
  }

  void measure_peaks(float* peaks) const {
    alignas(64) float low[kLanes], high[kLanes];
    for (std::size_t l = 0; l < kLanes; l += kWidth) {
      Vector lowest{}, highest{};
      for (std::size_t e = 0; e < kLaneLength; ++e) {
        const Vector x = load(block_.x[e] + l);
        lowest = min(x, lowest);
        highest = max(x, highest);
      }
      store(low + l, lowest);
      store(high + l, highest);
    }
    for (std::size_t l = 0; l < kLanes; ++l) {
      const std::size_t first = l % kSubs, last = first + kLanes - kSubs;
      const float lowest = low[first] < low[last] ? low[first] : low[last], highest = high[first] > high[last] ? high[first] : high[last];
      peaks[l] = highest > -lowest ? highest : lowest;
    }
  }

  // The real scale of each sub-block that explains most of it: the gain of the least-squares scale is (sum w x q)^2 / sum w q q.
  void search_ranges(bool try_all) {
    alignas(64) float peaks[kLanes], best[kLanes] = {}, inverses[kLanes];
    measure_peaks(peaks);
    for (std::size_t l = 0; l < kLanes; ++l) scale_[l] = peaks[l] / kLow;
    if (!try_all) return;
    for (const float code : Shape::kPeaks) {
      for (std::size_t l = 0; l < kLanes; l += kWidth) store(inverses + l, code * inverse_or_zero(load(peaks + l)));
      pass(inverses);
      for (std::size_t l = 0; l < kLanes; l += kWidth) {
        const Vector xq = load(xq_ + l), by_qq = inverse_or_zero(load(qq_ + l)), best_so_far = load(best + l);
        const Vector gain = xq * xq * by_qq;
        store(scale_ + l, gain > best_so_far ? xq * by_qq : load(scale_ + l));
        store(best + l, max(gain, best_so_far));
      }
    }
  }

  Grid first_grid(float largest_scale) const {
    Grid grid;
    float largest = 0;
    for (std::size_t s = 0; s < kSubs; ++s) largest = std::max(largest, std::fabs(scale_[s]));
    grid.d = nearest_scale(largest / largest_scale);
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

  // Codes at the nearest points and the error they leave in each sub-block.
  void measure_errors(const float* steps, float* errors) const {
    for (std::size_t l = 0; l < kLanes; l += kWidth) {
      const Vector step = load(steps + l), inverse = inverse_or_zero(step);
      Vector error{};
      for (std::size_t e = 0; e < kLaneLength; ++e) {
        const Vector x = load(block_.x[e] + l);
        const Vector residual = x - step * Shape::nearest_points(x * inverse);
        error += load(block_.w[e] + l) * residual * residual;
      }
      store(errors + l, error);
    }
    block_.join(errors);
  }

  // Moves each sub-block to the best of the neighbours of its integer and returns the error of the super-block.
  float descend(Grid& grid) const {
    alignas(64) float scale[kLanes], candidate[kLanes], best[kLanes], best_scale[kLanes], step[kLanes], error[kLanes];
    for (std::size_t l = 0; l < kLanes; ++l) {
      best_scale[l] = scale[l] = grid.scales[l % kSubs];
      best[l] = HUGE_VALF;
    }
    for (const ScaleNeighbour& neighbour : Shape::kNeighbours) {
      for (std::size_t l = 0; l < kLanes; l += kWidth) {
        const Vector changed = clamp(neighbour.sign * load(scale + l) + neighbour.change, -kMaxScale - 1, kMaxScale);
        store(candidate + l, changed);
        store(step + l, grid.d * changed);
      }
      measure_errors(step, error);
      for (std::size_t l = 0; l < kLanes; l += kWidth) {
        const Vector so_far = load(best + l), now = load(error + l);
        store(best_scale + l, now < so_far ? load(candidate + l) : load(best_scale + l));
        store(best + l, min(now, so_far));
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

}  // inline namespace NIBBLE_LANES

}  // namespace nibble
