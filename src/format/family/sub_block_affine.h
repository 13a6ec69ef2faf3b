// SPDX-License-Identifier: Apache-2.0
//
// Grids of super-blocks whose sub-blocks have a scale and a minimum, both small integers times two halves (Q2_K, Q4_K,
// Q5_K):
//
//   value = d * scale[s] * code - dmin * minimum[s],   codes 0 .. kMaxCode
//
// The search minimises the (importance-weighted) sum of squared errors of the super-block with the codes at their
// nearest points: real scales and minima from a few ranges by least squares, then rounds of "least squares for d and
// dmin; best neighbouring integers for each sub-block". Whatever is compared was measured with the grid as it would be
// stored, and the best grid seen is kept.
//
//   SubScaledAffineGrid<8> grid = AffineSearch<Q4Shape>(x, importance).run();
#pragma once

#include <cstdint>

#include "format/family/sub_blocks.h"

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

  Grid run() { return block_.weighted ? refine<true>(Shape::kRounds) : refine<false>(Shape::kRounds); }
  // The range of each sub-block as it is, no search.
  Grid whole_ranges() { return refine<false>(0); }

 private:
  // How much of its range each first guess keeps: codes per range relative to kMaxCode.
  static constexpr float kRangeChanges[] = {-0.6F, -0.2F, 0.2F, 0.6F, 1.F};

  struct Neighbour {
    float scale, minimum;
  };
  // Tried around the integers of each sub-block. One step of the scale moves the top of the range by about as much as
  // two steps of the minimum move the whole range, hence the skewed pattern: (1, 2) widens the range on both sides.
  static constexpr Neighbour kNeighbours[] = {{0, 0}, {1, 0},   {-1, 0}, {0, 1},  {0, -1},
                                              {1, 1}, {-1, -1}, {1, 2},  {-1, -2}};

  // Sums of one pass: w r r, w r, w r q, w q, w q q with r the residual and q the code.
  struct Sums {
    Lanes error, r, rq, q, qq;
  };

  SubBlocks<kSubs> block_;
  Lanes low_, high_, weight_;  // range (low <= 0 <= high), sum of w
  Lanes scale_, minimum_;      // the real-valued guess: x = scale * code - minimum

  template <bool kWeighted>
  Grid refine(int num_rounds) {
    Grid best;
    if (block_.largest < kSmallestSearched) return best;
    measure_ranges();
    if (num_rounds > 0) search_ranges<kWeighted>();
    Grid grid = first_grid();
    best = grid;
    float best_error = HUGE_VALF;
    for (int round = 0; round < num_rounds; ++round) {
      refit_halves<kWeighted>(grid);
      const float error = descend<kWeighted>(grid);
      if (error < best_error) best_error = error, best = grid;
    }
    return best;
  }

  void measure_ranges() {
    for (std::size_t v = 0; v < kVectors; ++v) {
      Vector lowest{}, highest{}, weight{};
      for (std::size_t e = 0; e < kLaneLength; ++e) {
        const Vector x = load(block_.x[e] + v * kWidth);
        lowest = min(x, lowest);
        highest = max(x, highest);
        weight += load(block_.w[e] + v * kWidth);
      }
      low_[v] = lowest;
      high_[v] = highest;
      weight_[v] = weight;
    }
    block_.join(weight_);
    if constexpr (kSubs == 8) {
      const Lanes low = swap_halves(low_), high = swap_halves(high_);
      for (std::size_t v = 0; v < kVectors; ++v) {
        low_[v] = min(low_[v], low[v]);
        high_[v] = max(high_[v], high[v]);
      }
    }
    for (std::size_t v = 0; v < kVectors; ++v) {
      scale_[v] = (high_[v] - low_[v]) / static_cast<float>(kMaxCode);
      minimum_[v] = -low_[v];
    }
  }

  // Codes at the nearest points of x = step * q - offset, and their sums.
  template <bool kWeighted>
  [[gnu::always_inline]] Sums pass(const Lanes& steps, const Lanes& offsets) const {
    Sums sums;
    for (std::size_t v = 0; v < kVectors; ++v) {
      const Vector step = steps[v], offset = offsets[v], inverse = inverse_or_zero(step);
      Vector error{}, r{}, rq{}, q{}, qq{};
      for (std::size_t e = 0; e < kLaneLength; ++e) {
        const Vector shifted = load(block_.x[e] + v * kWidth) + offset;
        const Vector code = round_lanes(clamp(shifted * inverse, 0, kMaxCode));
        const Vector residual = shifted - step * code;
        const Vector wq = block_.template weigh<kWeighted>(e, v, code),
                     wr = block_.template weigh<kWeighted>(e, v, residual);
        q += wq;
        qq += wq * code;
        r += wr;
        rq += wr * code;
        error += wr * residual;
      }
      sums.error[v] = error;
      sums.r[v] = r;
      sums.rq[v] = rq;
      sums.q[v] = q;
      sums.qq[v] = qq;
    }
    for (Lanes* lanes : {&sums.error, &sums.r, &sums.rq, &sums.q, &sums.qq}) block_.join(*lanes);
    return sums;
  }

  // Real scales and minima: for each range, codes by rounding, then least squares for both with the codes unchanged.
  // The minimum stays
  // >= 0. The error after the change follows from the sums, without another pass.
  template <bool kWeighted>
  void search_ranges() {
    Lanes best, steps, offsets;
    for (std::size_t v = 0; v < kVectors; ++v) {
      best[v] = splat(HUGE_VALF);
      offsets[v] = -low_[v];
    }
    for (const float change : kRangeChanges) {
      for (std::size_t v = 0; v < kVectors; ++v) steps[v] = (high_[v] - low_[v]) / (kMaxCode + change);
      const Sums sums = pass<kWeighted>(steps, offsets);
      for (std::size_t v = 0; v < kVectors; ++v) {
        const Vector step = steps[v], offset = offsets[v], weight = weight_[v];
        const Vector r = sums.r[v], rq = sums.rq[v], q = sums.q[v], qq = sums.qq[v];
        const Vector determinant = qq * weight - q * q;
        const Vector by_determinant = determinant > 0 ? 1 / determinant : Vector{};
        Vector dm = (rq * q - r * qq) * by_determinant;
        Vector ds = (rq * weight - r * q) * by_determinant;
        ds = offset + dm < 0 ? (rq - offset * q) * inverse_or_zero(qq) : ds;
        dm = offset + dm < 0 ? -offset : dm;
        dm = step + ds > 0 ? dm : Vector{};
        ds = step + ds > 0 ? ds : Vector{};
        const Vector error = sums.error[v] + ds * (ds * qq - 2 * rq) + dm * (dm * weight + 2 * r - 2 * ds * q);
        scale_[v] = error < best[v] ? step + ds : scale_[v];
        minimum_[v] = error < best[v] ? offset + dm : minimum_[v];
        best[v] = min(error, best[v]);
      }
    }
  }

  Grid first_grid() const {
    Grid grid;
    alignas(64) float scale[kLanes], minimum[kLanes];
    store(scale, scale_);
    store(minimum, minimum_);
    float largest_scale = 0, largest_minimum = 0;
    for (std::size_t s = 0; s < kSubs; ++s) {
      largest_scale = std::max(largest_scale, scale[s]);
      largest_minimum = std::max(largest_minimum, minimum[s]);
    }
    grid.d = nearest_scale(largest_scale / kMaxScale);
    grid.dmin = nearest_scale(largest_minimum / kMaxScale);
    for (std::size_t s = 0; s < kSubs; ++s) {
      grid.scales[s] = to_integer(scale[s], grid.d);
      grid.minima[s] = to_integer(minimum[s], grid.dmin);
    }
    grid.derive();
    return grid;
  }

  static std::uint8_t to_integer(float value, float unit) {
    return unit > 0 ? static_cast<std::uint8_t>(to_nearest_even(clamp_to(value / unit, 0, kMaxScale)))
                    : std::uint8_t{0};
  }

  // Per sub-block, in every lane of it.
  static Lanes spread(const float* values) {
    alignas(64) float lanes[kLanes];
    for (std::size_t l = 0; l < kLanes; ++l) lanes[l] = values[l % kSubs];
    return load_lanes(lanes);
  }
  static Lanes spread(const std::uint8_t* integers) {
    alignas(64) float lanes[kLanes];
    for (std::size_t l = 0; l < kLanes; ++l) lanes[l] = integers[l % kSubs];
    return load_lanes(lanes);
  }

  // Least squares for d and dmin, integers and codes unchanged.
  template <bool kWeighted>
  void refit_halves(Grid& grid) {
    const Sums sums = pass<kWeighted>(spread(grid.step), spread(grid.offset));
    alignas(64) float r[kLanes], rq[kLanes], q[kLanes], qq[kLanes], weight[kLanes];
    store(r, sums.r);
    store(rq, sums.rq);
    store(q, sums.q);
    store(qq, sums.qq);
    store(weight, weight_);
    double a11 = 0, a12 = 0, a22 = 0, b1 = 0, b2 = 0;
    for (std::size_t s = 0; s < kSubs; ++s) {
      const double scale = grid.scales[s], minimum = grid.minima[s];
      a11 += scale * scale * qq[s], a12 -= scale * minimum * q[s], a22 += minimum * minimum * weight[s];
      b1 += scale * rq[s], b2 -= minimum * r[s];
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
  template <bool kWeighted>
  [[gnu::always_inline]] Lanes measure_errors(const Lanes& steps, const Lanes& offsets) const {
    Lanes errors;
    for (std::size_t v = 0; v < kVectors; ++v) {
      const Vector step = steps[v], offset = offsets[v], inverse = inverse_or_zero(step);
      Vector error{};
      for (std::size_t e = 0; e < kLaneLength; ++e) {
        const Vector shifted = load(block_.x[e] + v * kWidth) + offset;
        const Vector residual = shifted - step * round_lanes(clamp(shifted * inverse, 0, kMaxCode));
        error += block_.template weigh<kWeighted>(e, v, residual) * residual;
      }
      errors[v] = error;
    }
    block_.join(errors);
    return errors;
  }

  // Moves each sub-block to the best of the neighbours of its integers and returns the error of the super-block.
  template <bool kWeighted>
  float descend(Grid& grid) const {
    const Lanes scale = spread(grid.scales), minimum = spread(grid.minima);
    Lanes best, best_scale = scale, best_minimum = minimum, steps, offsets;
    for (std::size_t v = 0; v < kVectors; ++v) best[v] = splat(HUGE_VALF);
    for (const Neighbour& neighbour : kNeighbours) {
      for (std::size_t v = 0; v < kVectors; ++v) {
        steps[v] = grid.d * clamp(scale[v] + neighbour.scale, 0, kMaxScale);
        offsets[v] = grid.dmin * clamp(minimum[v] + neighbour.minimum, 0, kMaxScale);
      }
      const Lanes errors = measure_errors<kWeighted>(steps, offsets);
      for (std::size_t v = 0; v < kVectors; ++v) {
        best_scale[v] = errors[v] < best[v] ? clamp(scale[v] + neighbour.scale, 0, kMaxScale) : best_scale[v];
        best_minimum[v] = errors[v] < best[v] ? clamp(minimum[v] + neighbour.minimum, 0, kMaxScale) : best_minimum[v];
        best[v] = min(errors[v], best[v]);
      }
    }
    alignas(64) float errors[kLanes], scales[kLanes], minima[kLanes];
    store(errors, best);
    store(scales, best_scale);
    store(minima, best_minimum);
    float total = 0;
    for (std::size_t s = 0; s < kSubs; ++s) {
      grid.scales[s] = static_cast<std::uint8_t>(scales[s]);
      grid.minima[s] = static_cast<std::uint8_t>(minima[s]);
      total += errors[s];
    }
    grid.derive();
    return total;
  }
};

}  // namespace NIBBLE_LANES

}  // namespace nibble
