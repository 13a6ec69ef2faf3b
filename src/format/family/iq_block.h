// SPDX-License-Identifier: Apache-2.0
//
// What the vector types of ggml (IQ1, IQ2, IQ3) have in common: super-blocks of 256 in units of 4 or 8 columns, each a
// point of a fixed grid times the step of its sub-block, which is one half times a small integer's multiplier. A type
// adds its descriptor, its bytes, how a unit is coded, and pack and unpack.
//
// The search minimises the (importance-weighted) sum of squared errors with every unit at its nearest point: real steps
// by least squares from a few guesses, then rounds of "best neighbouring integer for each sub-block; least squares for
// d". FitRule::absmax and minmax put the largest magnitude of each sub-block on the outermost level; every other rule
// searches.
//
// Because units are vectors, importance matters for the choice of points too: encode() weighs each coordinate by it.
#pragma once

#include <bit>
#include <cstdint>

#include "format/block_format.h"
#include "format/family/iq_codebook.h"
#include "format/family/iq_search.h"
#include "format/family/k_block.h"

namespace nibble {

// d is a half held as a float; shifts are the sub-blocks' common shift of all points (IQ1_S), else 0. step follows from
// d and scales.
template <std::size_t kSubs>
struct VectorGrid {
  float d = 0;
  std::uint8_t scales[kSubs] = {};
  float shifts[kSubs] = {};
  float step[kSubs] = {};
};

// What a unit's nearest point leaves: its code, the error, and the sums of w x p and w p p with p the signed point.
struct UnitFit {
  Code code = 0;
  float error = 0, xp = 0, pp = 0;
};

// Targets are held inside this many steps: beyond any grid, small enough to be squared.
inline constexpr float kLargestTarget = 1e6F;

// Shape has kSubs, kUnit, kNumScales, multiplier(scale), step(d, scale) in the order of operations of the reference,
// kOutermost (the largest level),
// kPeaks (where the first guesses put the largest magnitude), kShifts (the shifts a sub-block may choose), kRounds;
//   Code nearest(const float* target, const float* weights, float shift), target in steps, weights null for ones;
//   Code nearest_in_metric(const float* target, const float* metric, float shift);
//   void point(Code code, float shift, float* out).
template <class Shape>
class VectorSearch {
 public:
  using Grid = VectorGrid<Shape::kSubs>;

  VectorSearch(const float* values, const float* importance) {
    scale_importance(importance, w_);
    for (std::size_t i = 0; i < kSuperBlock; ++i) {
      x_[i] = clamp_to(values[i], -kLargestSearched, kLargestSearched);
      largest_ = std::max(largest_, std::fabs(x_[i]));
    }
  }

  Grid run() { return refine(Shape::kRounds); }
  Grid whole_ranges() { return refine(0); }

 private:
  static constexpr std::size_t kSubLength = kSuperBlock / Shape::kSubs;
  static constexpr int kMaxScale = Shape::kNumScales - 1;

  struct SubFit {
    float error = HUGE_VALF, xp = 0, pp = 0, shift = 0;
  };

  float x_[kSuperBlock], w_[kSuperBlock];
  float largest_ = 0;
  float real_step_[Shape::kSubs];

  Grid refine(int num_rounds) {
    Grid best;
    if (largest_ < kSmallestSearched) return best;
    float widest = 0;
    for (std::size_t s = 0; s < Shape::kSubs; ++s) {
      guess_step(s, num_rounds > 0);
      widest = std::max(widest, real_step_[s]);
    }
    Grid grid;
    grid.d = nearest_scale(widest / Shape::multiplier(kMaxScale));
    for (std::size_t s = 0; s < Shape::kSubs; ++s) grid.scales[s] = nearest_integer(real_step_[s] / grid.d);
    float best_error = HUGE_VALF;
    for (int round = 0; round < std::max(num_rounds, 1); ++round) {
      double xp = 0, pp = 0;
      const float error = descend(grid, num_rounds > 0, xp, pp);
      if (error < best_error) best_error = error, best = grid;
      if (!(xp > 0 && pp > 0)) break;
      const float d = nearest_scale(static_cast<float>(xp / pp));
      if (d == grid.d) break;
      grid.d = d;
    }
    return best;
  }

  SubFit measure(std::size_t s, float step) const {
    SubFit best;
    for (const float shift : Shape::kShifts) {
      SubFit fit{.error = 0, .shift = shift};
      for (std::size_t i = s * kSubLength; i < (s + 1) * kSubLength && fit.error < best.error; i += Shape::kUnit) {
        const UnitFit unit = fit_unit(x_ + i, w_ + i, step, shift);
        fit.error += unit.error;
        fit.xp += unit.xp;
        fit.pp += unit.pp;
      }
      if (fit.error < best.error) best = fit;
    }
    return best;
  }

  static UnitFit fit_unit(const float* x, const float* w, float step, float shift) {
    float target[kMaxUnit], point[kMaxUnit];
    for (std::size_t j = 0; j < Shape::kUnit; ++j) target[j] = clamp_to(x[j] / step, -kLargestTarget, kLargestTarget);
    UnitFit fit;
    fit.code = Shape::nearest(target, w, shift);
    Shape::point(fit.code, shift, point);
    for (std::size_t j = 0; j < Shape::kUnit; ++j) {
      const float residual = x[j] - step * point[j];
      fit.error += w[j] * residual * residual;
      fit.xp += w[j] * x[j] * point[j];
      fit.pp += w[j] * point[j] * point[j];
    }
    return fit;
  }

  // The real step that explains most of a sub-block: the gain of the least-squares step is (sum w x p)^2 / sum w p p.
  void guess_step(std::size_t s, bool try_all) {
    float peak = 0;
    for (std::size_t i = s * kSubLength; i < (s + 1) * kSubLength; ++i) peak = std::max(peak, std::fabs(x_[i]));
    real_step_[s] = peak / Shape::kOutermost;
    if (!try_all || peak < kSmallestSearched) return;
    float best = 0;
    for (const float level : Shape::kPeaks) {
      const SubFit fit = measure(s, peak / level);
      const float gain = fit.xp > 0 && fit.pp > 0 ? fit.xp * (fit.xp / fit.pp) : 0.F;
      if (gain > best) best = gain, real_step_[s] = fit.xp / fit.pp;
    }
  }

  static std::uint8_t nearest_integer(float multiplier) {
    int best = 0;
    for (int scale = 1; scale <= kMaxScale; ++scale)
      if (std::fabs(Shape::multiplier(scale) - multiplier) < std::fabs(Shape::multiplier(best) - multiplier))
        best = scale;
    return static_cast<std::uint8_t>(best);
  }

  // Walks each sub-block's integer downhill. Returns the error of the super-block and the sums for the least-squares d.
  float descend(Grid& grid, bool move, double& xp, double& pp) const {
    float total = 0;
    for (std::size_t s = 0; s < Shape::kSubs; ++s) {
      int scale = grid.scales[s];
      SubFit best = measure(s, grid.d * Shape::multiplier(scale));
      for (const int direction : {1, -1}) {
        bool moved = false;
        while (move && scale + direction >= 0 && scale + direction <= kMaxScale) {
          const SubFit fit = measure(s, grid.d * Shape::multiplier(scale + direction));
          if (!(fit.error < best.error)) break;
          best = fit;
          scale += direction;
          moved = true;
        }
        if (moved) break;
      }
      grid.scales[s] = static_cast<std::uint8_t>(scale);
      grid.shifts[s] = best.shift;
      const double multiplier = Shape::multiplier(scale);
      xp += multiplier * best.xp;
      pp += multiplier * multiplier * best.pp;
      total += best.error;
    }
    derive(grid);
    return total;
  }

 public:
  static void derive(Grid& grid) {
    for (std::size_t s = 0; s < Shape::kSubs; ++s) grid.step[s] = Shape::step(grid.d, grid.scales[s]);
  }
};

// Units of one point of `kBook` and a sign for each coordinate: code = index + (signs << kIndexBits). Where the number
// of minus signs is always even, the last one follows from the others and is not stored.
template <const Codebook& (*kBook)(), std::size_t kDimensions, unsigned kIndexBits, Signs kSigns>
struct SignedUnit {
  static constexpr std::size_t kUnit = kDimensions;
  static constexpr std::uint32_t kIndexMask = (1u << kIndexBits) - 1,
                                 kSignMask = (1u << (kSigns == Signs::even ? kDimensions - 1 : kDimensions)) - 1;
  static constexpr float kShifts[] = {0.F};

  [[gnu::always_inline]] static Code nearest(const float* target, const float* weights, float) {
    const Codebook::Choice choice = nearest_point(kBook(), target, weights, kSigns, 0);
    return choice.index | (choice.negative & kSignMask) << kIndexBits;
  }
  static Code nearest_in_metric(const float* target, const float* metric, float) {
    const MetricChoice choice = nibble::nearest_in_metric(kBook(), 1, target, metric, kSigns);
    return choice.index[0] | (choice.negative & kSignMask) << kIndexBits;
  }
  [[gnu::always_inline]] static void point(Code code, float, float* out) {
    const float* magnitudes = kBook().point(code & kIndexMask);
    std::uint32_t negative = code >> kIndexBits & kSignMask;
    if (kSigns == Signs::even)
      negative |= (static_cast<std::uint32_t>(std::popcount(negative)) & 1u) << (kDimensions - 1);
    for (std::size_t j = 0; j < kDimensions; ++j) out[j] = (negative >> j & 1u) != 0 ? -magnitudes[j] : magnitudes[j];
  }
};

template <class Shape>
struct VectorBlock {
  using Grid = VectorGrid<Shape::kSubs>;
  static constexpr std::size_t kSubLength = kSuperBlock / Shape::kSubs;

  static void fit(const float* x, const float* importance, const FitOptions& options, Grid& grid) {
    VectorSearch<Shape> search(x, importance);
    grid = keeps_whole_range(options) ? search.whole_ranges() : search.run();
  }

  static Code nearest(const Grid& grid, std::size_t column, const float* target, const float* metric) {
    float scaled[kMaxUnit];
    if (!scale_target(grid, column, target, scaled)) return 0;
    const float shift = grid.shifts[column / kSubLength];
    return metric != nullptr ? Shape::nearest_in_metric(scaled, metric, shift) : Shape::nearest(scaled, nullptr, shift);
  }

  static Code nearest_weighted(const Grid& grid, std::size_t column, const float* target, const float* weights) {
    float scaled[kMaxUnit];
    return scale_target(grid, column, target, scaled)
               ? Shape::nearest(scaled, weights, grid.shifts[column / kSubLength])
               : 0;
  }

  static void value(const Grid& grid, std::size_t column, Code code, float* out) {
    const std::size_t s = column / kSubLength;
    float point[kMaxUnit];
    Shape::point(code, grid.shifts[s], point);
    for (std::size_t j = 0; j < Shape::kUnit; ++j) out[j] = grid.step[s] * point[j];
  }

  static std::vector<GridPart> grid_parts(const Grid& grid, std::size_t column) {
    const std::size_t s = column / kSubLength;
    std::vector<GridPart> parts = {{"scale d of the block", static_cast<double>(grid.d)},
                                   {"integer of the sub-block", static_cast<double>(grid.scales[s])},
                                   {"step of the sub-block", static_cast<double>(grid.step[s])}};
    if (std::size(Shape::kShifts) > 1) parts.push_back({"shift of the points", static_cast<double>(grid.shifts[s])});
    return parts;
  }

  // fit, then the nearest points with the importance as weights of the coordinates.
  static void encode_units(const float* x, const float* importance, const FitOptions& options, Grid& grid,
                           Code* codes) {
    fit(x, importance, options, grid);
    float weights[kSuperBlock];
    scale_importance(importance, weights);
    for (std::size_t i = 0; i < kSuperBlock / Shape::kUnit; ++i) {
      const std::size_t column = i * Shape::kUnit;
      codes[i] = nearest_weighted(grid, column, x + column, weights + column);
    }
  }

 private:
  // The target in steps; false where the step is zero.
  static bool scale_target(const Grid& grid, std::size_t column, const float* target, float* scaled) {
    const float step = grid.step[column / kSubLength];
    if (step == 0) return false;
    for (std::size_t j = 0; j < Shape::kUnit; ++j)
      scaled[j] = clamp_to(target[j] / step, -kLargestTarget, kLargestTarget);
    return true;
  }
};

}  // namespace nibble
