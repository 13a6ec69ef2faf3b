// SPDX-License-Identifier: Apache-2.0
#include "format/planar/fit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/half.h"
#include "format/clip.h"
#include "format/common_step.h"
#include "format/planar/dynamic_map.h"
#include "format/planar/long_sum.h"
#include "format/planar/planes.h"
#include "format/planar/points.h"
#include "format/planar/ternary_fit.h"
#include "format/scale.h"
#include "format/scale_search.h"

namespace nibble {

namespace {

// Above this squares and sums overflow, so only the plain rule applies; and a range is cut off where scale * point
// could overflow.
constexpr float kLargestMeasured = 0x1p60f;
constexpr float kLargestRange = std::numeric_limits<float>::max() / 4;

float magnitude_of(const Extremes& range) { return std::max(-range.min, range.max); }

constexpr float kAbove = 1.05f;  // how far above the plain scale a search begins

// Whether a scale may turn its points over. Only formats with signed scales seek such ones; numbers that have them
// already (q4_0's do) keep them.
bool has_sign(const PlanarSpec& spec) {
  return spec.scale == ScaleType::f16 || spec.scale == ScaleType::bf16 || spec.scale == ScaleType::f32;
}

// One span and what searches of its scale need.
struct ScaleSearch {
  const SpanValues& span;
  const SpanLoops& loops;

  double error_of(const UnitPoints& points, float scale) const {
    double error;
    loops.errors(span, points, &scale, 1, &error);
    return error;
  }

  // The least-squares scale for the codes that `scale` gives.
  float refine(const UnitPoints& points, float scale) const {
    LeastSquares sums;
    loops.least_squares(span, points, &scale, 1, &sums);
    return sums.square > 0 ? static_cast<float>(sums.cross / sums.square) : scale;
  }

  // Scales from above * start down to a third of it, the best one refined. Never worse than `start`.
  template <class Round>
  std::pair<float, double> best_scale(const UnitPoints& points, float start, float above, Round round) const {
    constexpr int kSteps = 20;
    const float ratio = std::pow(3 * above, -1.0f / kSteps);
    float scales[kSteps + 2] = {start};
    double errors[kSteps + 2];
    std::size_t count = 1;
    float candidate = start * above;
    for (int step = 0; step <= kSteps; ++step, candidate *= ratio) {
      const float scale = round(candidate);
      if (scale != scales[count - 1]) scales[count++] = scale;
    }
    loops.errors(span, points, scales, count, errors);
    const auto least = static_cast<std::size_t>(std::min_element(errors, errors + count) - errors);
    std::pair<float, double> best{scales[least], errors[least]};
    for (int i = 0; i < 4; ++i) {
      const float scale = round(refine(points, best.first));
      if (scale == best.first) break;
      const double error = error_of(points, scale);
      if (!(error < best.second)) break;
      best = {scale, error};
    }
    return best;
  }
};

PlanarGrid fit_symmetric(const PlanarSpec& spec, const ScaleSearch& searching, const Extremes& range, FitRule rule,
                         bool search, ScaleUnit unit) {
  const CodeRange codes = code_range(spec);
  PlanarGrid grid{1, unit.base, codes.middle, 0, unit.offset};
  if (!(magnitude_of(range) > 0)) return grid;
  const auto round = [&](float scale) { return storable_scale(scale, spec.scale, unit); };
  if (rule == FitRule::exact)
    if (const float step =
            find_common_step({searching.span.x, searching.span.n}, codes.lo - codes.middle, codes.hi - codes.middle,
                             [&](float scale) { return scale > 0 || has_sign(spec) ? round(scale) : 0; });
        step != 0) {
      grid.scale = step;
      return grid;
    }
  // Where scales have either sign: the ends' distances from 0, of which the far one takes the peak.
  const float middle = static_cast<float>(codes.middle), low = middle - static_cast<float>(codes.lo),
              high = static_cast<float>(codes.hi) - middle, far = spec.is_high ? high : -low,
              near = std::min(low, high);
  float start;
  if (spec.has_signed_scales()) {
    start = (range.max >= -range.min ? range.max : range.min) / far;
  } else {
    start = magnitude_of(range) / (spec.bits == 8 ? 127.0f : middle - 0.5f);
    // A power of two below the wanted scale would clip; take the one above.
    if (spec.scale == ScaleType::e8m0) start = std::exp2(std::ceil(std::log2(start)));
  }
  grid.scale = round(start);
  if (!search) return grid;
  const UnitPoints points = unit_points(spec, codes.middle);
  // Up to where the peak lies on the last code of the shorter side.
  const float above = spec.has_signed_scales() ? 1.05f : 1.02f * (middle - 0.5f) / high;
  const auto [scale, error] = searching.best_scale(points, grid.scale, above, round);
  grid.scale = scale;
  if (spec.has_signed_scales()) {
    const auto [opposite, opposite_error] =
        searching.best_scale(points, -grid.scale, 1.025f * std::fabs(far) / near, round);
    if (opposite_error < error) grid.scale = opposite;
  }
  return grid;
}

// A grid of whole steps from 0 on, whose lowest is the zero point.
bool fit_asymmetric_exactly(const PlanarSpec& spec, std::span<const float> x, const Extremes& range, ScaleUnit unit,
                            PlanarGrid& grid) {
  const int levels = code_range(spec).hi;
  const float step = find_common_step(
      x, -levels, levels, [&](float scale) { return scale > 0 ? storable_scale(scale, spec.scale, unit) : 0; });
  if (step == 0) return false;
  const auto lowest = static_cast<int>(std::nearbyint(range.min / step)),
             highest = static_cast<int>(std::nearbyint(range.max / step));
  if (highest - lowest > levels) return false;
  grid.scale = step;
  grid.zero = -lowest;
  return true;
}

PlanarGrid fit_asymmetric(const PlanarSpec& spec, const ScaleSearch& searching, const Extremes& range, FitRule rule,
                          bool search, ScaleUnit unit) {
  const CodeRange codes = code_range(spec);
  PlanarGrid grid{1, unit.base, 0, 0, unit.offset};
  if (!(range.max > range.min)) return grid;
  if (rule == FitRule::exact && fit_asymmetric_exactly(spec, {searching.span.x, searching.span.n}, range, unit, grid))
    return grid;
  const auto round = [&](float scale) { return storable_scale(scale, spec.scale, unit); };
  const float levels = static_cast<float>(codes.hi);
  float start = range.max / levels - range.min / levels;
  if (spec.scale == ScaleType::e8m0) start = std::exp2(std::ceil(std::log2(start)));
  grid.scale = round(start);
  const auto zero_of = [&](float scale) {
    return static_cast<int>(std::nearbyint(std::clamp(-range.min / scale, 0.0f, levels)));
  };
  grid.zero = zero_of(grid.scale);
  if (!search) return grid;

  double best = std::numeric_limits<double>::infinity();
  const int full_zero = grid.zero;
  for (int zero = std::max(0, full_zero - 1); zero <= std::min(codes.hi, full_zero + 1); ++zero) {
    const auto [scale, error] = searching.best_scale(unit_points(spec, zero), round(start), kAbove, round);
    if (error < best) {
      best = error;
      grid.scale = scale;
      grid.zero = zero;
    }
  }
  return grid;
}

// The range as it is, without 0 where 0 lies outside; cut off at +-clip.
Extremes own_range(std::span<const float> x, float clip) {
  const auto [least, largest] = std::minmax_element(x.begin(), x.end());
  return {std::clamp(*least, -clip, clip), std::clamp(*largest, -clip, clip)};
}

// A scale and a bias that are being sought together.
class BiasSearch {
 public:
  BiasSearch(const PlanarSpec& spec, const ScaleSearch& searching)
      : type_(spec.scale),
        points_(unit_points(spec, 0)),
        searching_(searching),
        w_(long_sum(searching.span.n, [&](std::size_t i) { return searching.span.weights[i]; })),
        x_(long_sum(searching.span.n, [&](std::size_t i) { return searching.span.weights[i] * searching.span.x[i]; })) {
  }

  // A candidate's error, and the least-squares grid for its codes.
  struct Step {
    double error;
    PlanarGrid refined;
  };
  Step step(const PlanarGrid& candidate) const {
    const BiasedSums sums = searching_.loops.biased_sums(searching_.span, points_, candidate.scale, candidate.bias);
    return {sums.error, refined(candidate, sums)};
  }

 private:
  PlanarGrid refined(PlanarGrid grid, const BiasedSums& sums) const {
    const double determinant = w_ * sums.qq - sums.q * sums.q;
    const double scale = determinant > 0 ? (w_ * sums.qx - sums.q * x_) / determinant : 0;
    if (!(scale > 0)) return grid;
    grid.scale = storable_scale(static_cast<float>(scale), type_, {});
    grid.bias = storable_bias(static_cast<float>((x_ - scale * sums.q) / w_), type_);
    return grid;
  }

  ScaleType type_;
  UnitPoints points_;
  const ScaleSearch& searching_;
  double w_, x_;  // sum w, sum w x
};

// Whole steps from 0 on where the lowest code's number can be the bias, else from an offset on.
bool fit_biased_exactly(const PlanarSpec& spec, std::span<const float> x, PlanarGrid& grid) {
  const int levels = code_range(spec).hi, middle = (levels + 1) / 2;
  const auto stored = [&](float scale) { return storable_scale(scale, spec.scale, {}); };
  const float step = find_common_step(x, -middle, levels - middle, stored), lowest = -static_cast<float>(middle) * step;
  if (step != 0 && storable_bias(lowest, spec.scale) == lowest) {
    grid.scale = step;
    grid.bias = lowest;
    return true;
  }
  const auto steps = find_common_steps(x, levels, [&](float number) {
    return number == 0 ? 0 : spec.scale == ScaleType::f32 ? number : stored(number);
  });
  if (!steps || storable_bias(steps->offset, spec.scale) != steps->offset || stored(steps->size) != steps->size)
    return false;
  grid.scale = steps->size;
  grid.bias = steps->offset;
  return true;
}

PlanarGrid fit_biased(const PlanarSpec& spec, const ScaleSearch& searching, const Extremes& range, FitRule rule,
                      bool search) {
  const float levels = static_cast<float>(code_range(spec).hi);
  PlanarGrid plain;
  plain.bias = storable_bias(range.min, spec.scale);
  if (!(range.max > range.min)) return plain;
  if (rule == FitRule::exact && fit_biased_exactly(spec, {searching.span.x, searching.span.n}, plain)) return plain;
  const float step = range.max / levels - range.min / levels;
  plain.scale = storable_scale(step, spec.scale, {});
  if (!search) return plain;

  // Both ends are drawn in, each time refined by least squares: all side by side, so that none waits for its own sums.
  constexpr std::size_t kShares = 10, kSteps = 4;
  struct Course {
    PlanarGrid grids[kSteps];
    double errors[kSteps];
    std::size_t count = 0;
    bool rests = false;
  };
  const BiasSearch search_of(spec, searching);
  Course courses[kShares];
  for (std::size_t share = 0; share < kShares; ++share) {
    const float shrunk = step * (1 - 0.05f * static_cast<float>(share));
    PlanarGrid& first = courses[share].grids[0];
    first.scale = storable_scale(shrunk, spec.scale, {});
    first.bias = storable_bias(range.min + 0.5f * levels * (step - shrunk), spec.scale);
  }
  for (std::size_t i = 0; i < kSteps; ++i)
    for (Course& course : courses) {
      if (course.rests) continue;
      const PlanarGrid& grid = course.grids[i];
      const auto [error, refined] = search_of.step(grid);
      course.errors[course.count++] = error;
      course.rests = refined.scale == grid.scale && refined.bias == grid.bias;
      if (i + 1 < kSteps) course.grids[i + 1] = refined;
    }
  // Of equal ones the first.
  PlanarGrid best = plain;
  double least = search_of.step(plain).error;
  for (const Course& course : courses)
    for (std::size_t i = 0; i < course.count; ++i)
      if (course.errors[i] < least) {
        least = course.errors[i];
        best = course.grids[i];
      }
  return best;
}

// The scale of which all numbers are odd multiples of a half, or 0.
template <class Round>
float find_half_step(const PlanarSpec& spec, std::span<const float> x, Round round) {
  const int reach = (1 << spec.bits) - 1;
  const float half = find_common_step(x, -reach, reach,
                                      [&](float step) { return step > 0 && round(2 * step) == 2 * step ? step : 0; });
  const bool are_odd = half != 0 && std::ranges::all_of(x, [&](float value) {
                         return static_cast<int>(std::nearbyint(value / half)) % 2 != 0;
                       });
  return are_odd ? 2 * half : 0;
}

PlanarGrid fit_point_table(const PlanarSpec& spec, const ScaleSearch& searching, const Extremes& range, FitRule rule,
                           bool search, ScaleUnit unit) {
  const PointTable& table = *point_table(spec);
  PlanarGrid grid{has_point_at_zero(spec) ? 1.0f : 0.0f, unit.base, 0, 0, unit.offset};
  if (!(magnitude_of(range) > 0)) return grid;
  const auto round = [&](float scale) { return storable_scale(scale, spec.scale, unit); };
  if (rule == FitRule::exact && spec.points == PlanarPoints::half_integer)
    if (const float step = find_half_step(spec, {searching.span.x, searching.span.n}, round); step != 0) {
      grid.scale = step;
      return grid;
    }
  float start = magnitude_of(range) / table.max();
  if (spec.scale == ScaleType::e8m0)
    start = std::exp2(std::floor(std::log2(magnitude_of(range))) - std::floor(std::log2(table.max())));
  grid.scale = round(start);
  if (!search) return grid;
  const UnitPoints points = table.unit_points();
  grid.scale = searching.best_scale(points, grid.scale, kAbove, round).first;
  if (spec.scale == ScaleType::e8m0)
    grid.scale = searching.best_scale(points, round(2 * grid.scale), kAbove, round).first;
  return grid;
}

// Weights whose sums overflow, fitted at 2^-64 of their size.
constexpr int kHugeExponent = 64;

PlanarGrid fit_huge(const PlanarSpec& spec, std::span<const float> x, std::span<const float> importance,
                    const FitOptions& options, ScaleUnit unit, const SpanLoops& loops) {
  std::vector<float> smaller(x.size());
  std::transform(x.begin(), x.end(), smaller.begin(), [](float value) { return std::ldexp(value, -kHugeExponent); });
  PlanarSpec exact = spec;
  exact.scale = ScaleType::f32;
  PlanarGrid grid = fit_planar(exact, smaller, importance, options, {}, loops);
  const float rounded = storable_scale(std::ldexp(grid.scale, kHugeExponent), spec.scale, unit);
  // The threshold is a share of the scale or of the mean, and either scales with the weights.
  grid.threshold *= grid.scale > 0 ? rounded / grid.scale : 1;
  grid.scale = rounded;
  grid.base = unit.base;
  grid.offset = unit.offset;
  return grid;
}

float clipped_at(const PlanarSpec& spec, std::span<const float> x, const FitOptions& options) {
  return is_clipping(options.rule) ? clip_of(x, std::size_t{1} << (spec.bits - 1), options)
                                   : std::numeric_limits<float>::infinity();
}

}  // namespace

float storable_scale(float scale, ScaleType type, ScaleUnit unit) {
  const float magnitude = std::fabs(scale);
  switch (type) {
    case ScaleType::f32:
      return std::copysign(std::clamp(magnitude, kMinNormal, std::numeric_limits<float>::max()), scale);
    case ScaleType::amax:
      return magnitude_for(std::copysign(std::clamp(magnitude, kMinNormal, 0x1p121f), scale)) * kPerMagnitude;
    case ScaleType::f16:
      return f16_to_f32(f32_to_f16(std::copysign(std::clamp(magnitude, kMinF16, kMaxF16), scale)));
    case ScaleType::bf16:
      return bf16_to_f32(f32_to_bf16(std::copysign(std::clamp(magnitude, kMinNormal, bf16_to_f32(0x7f7f)), scale)));
    case ScaleType::e8m0: {
      int exponent;
      const float mantissa = std::frexp(magnitude, &exponent);  // [0.5, 1)
      // The nearest power of two on the logarithmic axis: sqrt(1/2) divides.
      return std::ldexp(1.0f, std::clamp(exponent - (mantissa < 0.70710678f ? 1 : 0), -126, 127));
    }
    case ScaleType::s6:
    case ScaleType::s8: {
      if (unit.base == 0) return std::max(magnitude, kMinNormal);
      const float top = type == ScaleType::s6 ? 63.0f : 255.0f;
      return unit.base * std::nearbyint(std::clamp(magnitude / unit.base, 1.0f, top));
    }
    case ScaleType::dq:
      if (unit.base == 0) return std::max(magnitude, kMinNormal);
      return dynamic_value(nearest_dynamic((magnitude - unit.offset) / unit.base)) * unit.base + unit.offset;
  }
  return scale;
}

float storable_bias(float bias, ScaleType type) {
  constexpr float kLargest = std::numeric_limits<float>::max();
  if (type == ScaleType::f16) return f16_to_f32(to_f16_saturated(bias));
  if (type == ScaleType::bf16)
    return bf16_to_f32(f32_to_bf16(std::clamp(bias, -bf16_to_f32(0x7f7f), bf16_to_f32(0x7f7f))));
  return std::clamp(bias, -kLargest, kLargest);
}

CodeRange code_range(const PlanarSpec& spec) {
  if (spec.points == PlanarPoints::ternary) return {0, 2, 1};
  if (spec.is_high) return {0, 3, 1};
  const std::int32_t levels = 1 << spec.bits;
  if (spec.has_bias) return {0, levels - 1, 0};
  const bool is_symmetric_byte = spec.points == PlanarPoints::integer && spec.bits == 8 && !spec.is_asymmetric;
  return {is_symmetric_byte ? 1 : 0, levels - 1, levels / 2};
}

UnitPoints unit_points(const PlanarSpec& spec, std::int32_t zero) {
  if (const PointTable* const table = point_table(spec)) return table->unit_points();
  const CodeRange codes = code_range(spec);
  UnitPoints points;
  points.low = static_cast<float>(codes.lo - zero);
  points.high = static_cast<float>(codes.hi - zero);
  points.zero = static_cast<float>(zero);
  return points;
}

PlanarGrid fit_planar(const PlanarSpec& spec, std::span<const float> x, std::span<const float> importance,
                      const FitOptions& given, ScaleUnit unit, const SpanLoops& loops) {
  FitOptions options = given;
  Extremes range = loops.extremes(x.data(), x.size());
  if (magnitude_of(range) > kLargestMeasured) {
    if (spec.points == PlanarPoints::ternary || spec.points == PlanarPoints::binary)
      return fit_huge(spec, x, importance, options, unit, loops);
    options.rule = FitRule::absmax;
    range = {std::max(range.min, -kLargestRange), std::min(range.max, kLargestRange)};
  }
  const float clip = clipped_at(spec, x, options);
  if (clip > 0) range = {std::max(range.min, -clip), std::min(range.max, clip)};
  const bool search = options.rule == FitRule::search || (options.rule == FitRule::automatic && spec.bits < 7);
  // Searches always have weights, so that their loops need not ask.
  const float* weights = importance.data();
  std::vector<float> ones;
  if (importance.empty() && x.size() <= kMaxSearched) {
    weights = weights_or_ones(nullptr);
  } else if (importance.empty() &&
             (search || spec.points == PlanarPoints::ternary || spec.points == PlanarPoints::binary)) {
    ones.assign(x.size(), 1.0f);
    weights = ones.data();
  }
  const SpanValues span{x.data(), weights, x.size()};
  const ScaleSearch searching{span, loops};
  switch (spec.points) {
    case PlanarPoints::ternary:
      return fit_ternary(spec, span, magnitude_of(range), options.rule, unit);
    case PlanarPoints::binary:
      return fit_binary(spec, span, unit);
    case PlanarPoints::integer:
      if (spec.has_bias)
        return fit_biased(spec, searching, own_range(x, clip > 0 ? std::min(clip, kLargestRange) : kLargestRange),
                          options.rule, search);
      return spec.is_asymmetric ? fit_asymmetric(spec, searching, range, options.rule, search, unit)
                                : fit_symmetric(spec, searching, range, options.rule, search, unit);
    default:
      return fit_point_table(spec, searching, range, options.rule, search, unit);
  }
}

}  // namespace nibble
