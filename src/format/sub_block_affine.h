// SPDX-License-Identifier: Apache-2.0
//
// Grids of super-blocks whose sub-blocks have a scale and a minimum, both small integers times two halves (Q2_K, Q4_K, Q5_K):
//
//   value = d * scale[s] * code - dmin * minimum[s],   codes 0 .. kMaxCode
//
// The search minimises the (importance-weighted) sum of squared errors of the super-block with the codes at their nearest points: real
// scales and minima from a few ranges by least squares, then rounds of "least squares for d and dmin; best neighbouring integers for each
// sub-block". Whatever is compared was measured with the grid as it would be stored, and the best grid seen is kept.
//
//   SubScaledAffineGrid<8> grid = AffineSearch<Q4Shape>(x, importance).run();
#pragma once

#include <cstdint>

#include "format/sub_blocks.h"

namespace nibble {

// d and dmin are halves held as floats. step, offset and inverse follow from the rest: derive() fills them.
template <std::size_t kSubs>
struct SubScaledAffineGrid {
  float d = 0, dmin = 0;
  std::uint8_t scales[kSubs] = {}, minima[kSubs] = {};
  float step[kSubs] = {}, offset[kSubs] = {}, inverse[kSubs] = {};

  [[gnu::always_inline]] void derive() {
    for (std::size_t s = 0; s < kSubs; ++s) {
      step[s] = d * static_cast<float>(scales[s]);
      offset[s] = dmin * static_cast<float>(minima[s]);
      inverse[s] = step[s] != 0 ? 1.F / step[s] : 0.F;
    }
  }
};

inline namespace NIBBLE_LANES {

// Shape has kSubs (sub-blocks: 8 or 16), kMaxCode, kMaxScale (of scales and minima), kRounds (of refitting).
template <class Shape>
class AffineSearch {
  static constexpr std::size_t kSubs = Shape::kSubs;
  static constexpr int kMaxCode = Shape::kMaxCode, kMaxScale = Shape::kMaxScale;

 public:
  using Grid = SubScaledAffineGrid<kSubs>;

  // values: 256, finite; importance: null or 256 non-negative weights.
  AffineSearch(const float* values, const float* importance) : block_(values, importance) {}

  Grid run() { return refine(Shape::kRounds); }
  // The range of each sub-block as it is, no search.
  Grid whole_ranges() { return refine(0); }

 private:
  // How much of its range each first guess keeps: codes per range relative to kMaxCode.
  static constexpr float kRangeChanges[] = {-0.6F, -0.2F, 0.2F, 0.6F, 1.F};

  struct Neighbour {
    float scale, minimum;
  };
  // Tried around the integers of each sub-block. One step of the scale moves the top of the range by about as much as two steps of the
  // minimum move the whole range, hence the skewed pattern: (1, 2) widens the range on both sides.
  static constexpr Neighbour kNeighbours[] = {{0, 0}, {1, 0}, {-1, 0}, {0, 1}, {0, -1}, {1, 1}, {-1, -1}, {1, 2}, {-1, -2}};

  SubBlocks<kSubs> block_;
  alignas(64) float low_[kLanes], high_[kLanes], weight_[kLanes];  // range (low <= 0 <= high), sum of w
  alignas(64) float scale_[kLanes], minimum_[kLanes];              // the real-valued guess: x = scale * code - minimum
  // Sums of one pass: w r r, w r, w r q, w q, w q q with r the residual and q the code.
  alignas(64) float error_[kLanes], r_[kLanes], rq_[kLanes], q_[kLanes], qq_[kLanes];

  Grid refine(int num_rounds) {
    Grid best;
    if (block_.largest < kSmallestSearched) return best;
    measure_ranges();
    if (num_rounds > 0) search_ranges();
    Grid grid = first_grid();
    best = grid;
    float best_error = HUGE_VALF;
    for (int round = 0; round < num_rounds; ++round) {
      refit_halves(grid);
      const float error = descend(grid);
      if (error < best_error) best_error = error, best = grid;
    }
    return best;
  }

  void measure_ranges() {
    alignas(64) float low[kLanes], high[kLanes];
    for (std::size_t l = 0; l < kLanes; l += kWidth) {
      Vector lowest{}, highest{}, weight{};
      for (std::size_t e = 0; e < kLaneLength; ++e) {
        const Vector x = load(block_.x[e] + l);
        lowest = min(x, lowest);
        highest = max(x, highest);
        weight += load(block_.w[e] + l);
      }
      store(low + l, lowest);
      store(high + l, highest);
      store(weight_ + l, weight);
    }
    block_.join(weight_);
    for (std::size_t l = 0; l < kLanes; ++l) {
      const std::size_t first = l % kSubs, last = first + kLanes - kSubs;
      low_[l] = low[first] < low[last] ? low[first] : low[last];
      high_[l] = high[first] > high[last] ? high[first] : high[last];
      scale_[l] = (high_[l] - low_[l]) / kMaxCode;
      minimum_[l] = -low_[l];
    }
  }

  // Codes at the nearest points of x = step * q - offset, and their sums.
  void pass(const float* steps, const float* offsets) {
    for (std::size_t l = 0; l < kLanes; l += kWidth) {
      const Vector step = load(steps + l), offset = load(offsets + l), inverse = inverse_or_zero(step);
      Vector error{}, r{}, rq{}, q{}, qq{};
      for (std::size_t e = 0; e < kLaneLength; ++e) {
        const Vector shifted = load(block_.x[e] + l) + offset, w = load(block_.w[e] + l);
        const Vector code = round_lanes(clamp(shifted * inverse, 0, kMaxCode));
        const Vector residual = shifted - step * code;
        const Vector wq = w * code, wr = w * residual;
        q += wq;
        qq += wq * code;
        r += wr;
        rq += wr * code;
        error += wr * residual;
      }
      store(error_ + l, error);
      store(r_ + l, r);
      store(rq_ + l, rq);
      store(q_ + l, q);
      store(qq_ + l, qq);
    }
    for (float* sums : {error_, r_, rq_, q_, qq_}) block_.join(sums);
  }

  // Real scales and minima: for each range, codes by rounding, then least squares for both with the codes unchanged. The minimum stays
  // >= 0. The error after the change follows from the sums, without another pass.
  void search_ranges() {
    alignas(64) float best[kLanes], steps[kLanes], offsets[kLanes];
    for (std::size_t l = 0; l < kLanes; ++l) {
      best[l] = HUGE_VALF;
      offsets[l] = -low_[l];
    }
    for (const float change : kRangeChanges) {
      for (std::size_t l = 0; l < kLanes; l += kWidth) store(steps + l, (load(high_ + l) - load(low_ + l)) / (kMaxCode + change));
      pass(steps, offsets);
      for (std::size_t l = 0; l < kLanes; l += kWidth) {
        const Vector step = load(steps + l), offset = load(offsets + l), weight = load(weight_ + l);
        const Vector r = load(r_ + l), rq = load(rq_ + l), q = load(q_ + l), qq = load(qq_ + l);
        const Vector determinant = qq * weight - q * q;
        const Vector by_determinant = determinant > 0 ? 1 / determinant : Vector{};
        Vector dm = (rq * q - r * qq) * by_determinant;
        Vector ds = (rq * weight - r * q) * by_determinant;
        ds = offset + dm < 0 ? (rq - offset * q) * inverse_or_zero(qq) : ds;
        dm = offset + dm < 0 ? -offset : dm;
        dm = step + ds > 0 ? dm : Vector{};
        ds = step + ds > 0 ? ds : Vector{};
        const Vector error = load(error_ + l) + ds * (ds * qq - 2 * rq) + dm * (dm * weight + 2 * r - 2 * ds * q);
        const Vector best_so_far = load(best + l);
        store(scale_ + l, error < best_so_far ? step + ds : load(scale_ + l));
        store(minimum_ + l, error < best_so_far ? offset + dm : load(minimum_ + l));
        store(best + l, min(error, best_so_far));
      }
    }
  }

  Grid first_grid() const {
    Grid grid;
    float largest_scale = 0, largest_minimum = 0;
    for (std::size_t s = 0; s < kSubs; ++s) {
      largest_scale = std::max(largest_scale, scale_[s]);
      largest_minimum = std::max(largest_minimum, minimum_[s]);
    }
    grid.d = nearest_scale(largest_scale / kMaxScale);
    grid.dmin = nearest_scale(largest_minimum / kMaxScale);
    for (std::size_t s = 0; s < kSubs; ++s) {
      grid.scales[s] = to_integer(scale_[s], grid.d);
      grid.minima[s] = to_integer(minimum_[s], grid.dmin);
    }
    grid.derive();
    return grid;
  }

  static std::uint8_t to_integer(float value, float unit) {
    return unit > 0 ? static_cast<std::uint8_t>(to_nearest_even(clamp_to(value / unit, 0, kMaxScale))) : std::uint8_t{0};
  }

  // Least squares for d and dmin, integers and codes unchanged.
  void refit_halves(Grid& grid) {
    alignas(64) float steps[kLanes], offsets[kLanes];
    for (std::size_t l = 0; l < kLanes; ++l) {
      steps[l] = grid.step[l % kSubs];
      offsets[l] = grid.offset[l % kSubs];
    }
    pass(steps, offsets);
    double a11 = 0, a12 = 0, a22 = 0, b1 = 0, b2 = 0;
    for (std::size_t s = 0; s < kSubs; ++s) {
      const double scale = grid.scales[s], minimum = grid.minima[s];
      a11 += scale * scale * qq_[s], a12 -= scale * minimum * q_[s], a22 += minimum * minimum * weight_[s];
      b1 += scale * rq_[s], b2 -= minimum * r_[s];
    }
    const double determinant = a11 * a22 - a12 * a12;
    double d = grid.d, dmin = grid.dmin;
    if (determinant > 1e-9 * a11 * a22) {
      d += (b1 * a22 - b2 * a12) / determinant;
      dmin += (b2 * a11 - b1 * a12) / determinant;
    } else if (a11 > 0) {
      d += b1 / a11;
    }
    if (d > 0 && dmin >= 0) {
      grid.d = nearest_scale(static_cast<float>(d));
      grid.dmin = nearest_scale(static_cast<float>(dmin));
    }
  }

  // Codes at the nearest points and the error they leave in each sub-block.
  void measure_errors(const float* steps, const float* offsets, float* errors) const {
    for (std::size_t l = 0; l < kLanes; l += kWidth) {
      const Vector step = load(steps + l), offset = load(offsets + l), inverse = inverse_or_zero(step);
      Vector error{};
      for (std::size_t e = 0; e < kLaneLength; ++e) {
        const Vector shifted = load(block_.x[e] + l) + offset;
        const Vector residual = shifted - step * round_lanes(clamp(shifted * inverse, 0, kMaxCode));
        error += load(block_.w[e] + l) * residual * residual;
      }
      store(errors + l, error);
    }
    block_.join(errors);
  }

  // Moves each sub-block to the best of the neighbours of its integers and returns the error of the super-block.
  float descend(Grid& grid) const {
    alignas(64) float scale[kLanes], minimum[kLanes], best[kLanes], best_scale[kLanes], best_minimum[kLanes];
    alignas(64) float step[kLanes], offset[kLanes], error[kLanes];
    for (std::size_t l = 0; l < kLanes; ++l) {
      best_scale[l] = scale[l] = grid.scales[l % kSubs];
      best_minimum[l] = minimum[l] = grid.minima[l % kSubs];
      best[l] = HUGE_VALF;
    }
    for (const Neighbour& neighbour : kNeighbours) {
      for (std::size_t l = 0; l < kLanes; l += kWidth) {
        store(step + l, grid.d * clamp(load(scale + l) + neighbour.scale, 0, kMaxScale));
        store(offset + l, grid.dmin * clamp(load(minimum + l) + neighbour.minimum, 0, kMaxScale));
      }
      measure_errors(step, offset, error);
      for (std::size_t l = 0; l < kLanes; l += kWidth) {
        const Vector so_far = load(best + l), now = load(error + l);
        store(best_scale + l, now < so_far ? clamp(load(scale + l) + neighbour.scale, 0, kMaxScale) : load(best_scale + l));
        store(best_minimum + l, now < so_far ? clamp(load(minimum + l) + neighbour.minimum, 0, kMaxScale) : load(best_minimum + l));
        store(best + l, min(now, so_far));
      }
    }
    float total = 0;
    for (std::size_t s = 0; s < kSubs; ++s) {
      grid.scales[s] = static_cast<std::uint8_t>(best_scale[s]);
      grid.minima[s] = static_cast<std::uint8_t>(best_minimum[s]);
      total += best[s];
    }
    grid.derive();
    return total;
  }
};

}  // inline namespace NIBBLE_LANES

}  // namespace nibble
