// SPDX-License-Identifier: Apache-2.0
//
// format/span_loops.h for whichever instruction set this is compiled for, as kSpanLoops. Everything is local to the
// including file: nothing compiled here can be picked for another set.
#pragma once

#include <algorithm>
#include <cstring>

#include "format/lanes.h"
#include "format/span_loops.h"

namespace nibble {
namespace {

using LaneIntegers __attribute__((vector_size(sizeof(Vector)))) = std::int32_t;

// What x rounds to at scale 1, and the code of that as a whole number.
struct IntegerRounding {
  const UnitPoints& points;

  [[gnu::always_inline]] Vector point(Vector x) const { return round_lanes(clamp(x, points.low, points.high)); }
  [[gnu::always_inline]] Vector code(Vector x) const { return point(x) + points.zero; }
};

struct ListedRounding {
  const UnitPoints& points;

  [[gnu::always_inline]] Vector point(Vector x) const {
    Vector value = splat(points.values[0]);
    for (std::size_t k = 0; k < 15; ++k) value = x > points.middles[k] ? splat(points.values[k + 1]) : value;
    return value;
  }
  [[gnu::always_inline]] Vector code(Vector x) const {
    Vector value = splat(points.codes[0]);
    for (std::size_t k = 0; k < 15; ++k) value = x > points.middles[k] ? splat(points.codes[k + 1]) : value;
    return value;
  }
};

struct MinifloatRounding {
  const UnitPoints& points;

  [[gnu::always_inline]] Vector magnitude(Vector x) const {
    const Vector limited =
        min(reinterpret_cast<Vector>(reinterpret_cast<LaneIntegers>(x) & 0x7fffffff), splat(points.max));
    const LaneIntegers exponent = exponent_of(limited), low = LaneIntegers{} + points.min_exponent;
    const LaneIntegers kept = exponent > low ? exponent : low;
    const Vector step = reinterpret_cast<Vector>((kept - points.mantissa_bits + 127) << 23);
    return round_lanes(limited / step) * step;
  }
  [[gnu::always_inline]] Vector point(Vector x) const {
    const LaneIntegers sign = reinterpret_cast<LaneIntegers>(x) & static_cast<std::int32_t>(0x80000000u);
    return reinterpret_cast<Vector>(reinterpret_cast<LaneIntegers>(magnitude(x)) | sign);
  }
  [[gnu::always_inline]] Vector code(Vector x) const {
    const Vector rounded = magnitude(x);
    const LaneIntegers exponent = exponent_of(rounded);
    const LaneIntegers mantissa = (reinterpret_cast<LaneIntegers>(rounded) & 0x7fffff) >> (23 - points.mantissa_bits);
    const LaneIntegers normal = ((exponent - points.min_exponent + 1) << points.mantissa_bits) | mantissa;
    const float steps_per_unit = static_cast<float>(1 << (points.mantissa_bits - points.min_exponent));
    const LaneIntegers tiny = __builtin_convertvector(rounded * steps_per_unit, LaneIntegers);
    const LaneIntegers number = exponent < points.min_exponent ? tiny : normal;
    const LaneIntegers is_negative = (x < 0) & (number != 0);
    return __builtin_convertvector(number + (is_negative & points.sign_code), Vector);
  }

 private:
  [[gnu::always_inline]] static LaneIntegers exponent_of(Vector magnitude) {
    return (reinterpret_cast<LaneIntegers>(magnitude) >> 23) - 127;
  }
};

template <class Use>
[[gnu::always_inline]] inline auto with_rounding(const UnitPoints& points, Use use) {
  switch (points.kind) {
    case UnitPoints::Kind::listed:
      return use(ListedRounding{points});
    case UnitPoints::Kind::minifloat:
      return use(MinifloatRounding{points});
    case UnitPoints::Kind::integers:
      break;
  }
  return use(IntegerRounding{points});
}

// Lanes l and l + width are added until one is left.
[[gnu::always_inline]] inline float fold_lanes(const Lanes& lanes) {
  using Four __attribute__((vector_size(16))) = float;
  Four part[4];
  std::memcpy(part, &lanes, sizeof(part));
  const Four first = part[0] + part[2], second = part[1] + part[3];
  const Four four = first + second;
  const Four two = four + __builtin_shufflevector(four, four, 2, 3, 2, 3);
  return two[0] + two[1];
}

// The same of four, each added in the same order.
[[gnu::always_inline]] inline void fold_four(const Lanes (&lanes)[4], float (&sums)[4]) {
  using Four __attribute__((vector_size(16))) = float;
  Four four[4];
  for (std::size_t i = 0; i < 4; ++i) {
    Four part[4];
    std::memcpy(part, &lanes[i], sizeof(part));
    const Four first = part[0] + part[2], second = part[1] + part[3];
    four[i] = first + second;
  }
  const Four front = __builtin_shufflevector(four[0], four[1], 0, 4, 1, 5) +
                     __builtin_shufflevector(four[0], four[1], 2, 6, 3, 7),
             back = __builtin_shufflevector(four[2], four[3], 0, 4, 1, 5) +
                    __builtin_shufflevector(four[2], four[3], 2, 6, 3, 7);
  const Four all = __builtin_shufflevector(front, back, 0, 1, 4, 5) + __builtin_shufflevector(front, back, 2, 3, 6, 7);
  std::memcpy(sums, &all, sizeof(all));
}

// Up to sixteen values and weights; those that are missing repeat the last value with no weight.
struct SpanTail {
  float x[kLanes], weights[kLanes];

  SpanTail(const SpanValues& span, std::size_t begin) {
    for (std::size_t l = 0; l < kLanes; ++l) {
      const bool is_there = begin + l < span.n;
      x[l] = span.x[is_there ? begin + l : span.n - 1];
      weights[l] = is_there ? span.weights[begin + l] : 0.0f;
    }
  }
};

// Calls step(x, weights) for sixteen values at a time and fold() after every 4096.
template <class Step, class Fold>
[[gnu::always_inline]] inline void for_runs(const SpanValues& span, Step step, Fold fold) {
  for (std::size_t begin = 0; begin < span.n; begin += 4096) {
    const std::size_t end = span.n - begin < 4096 ? span.n : begin + 4096;
    std::size_t i = begin;
    for (; i + kLanes <= end; i += kLanes) step(span.x + i, span.weights + i);
    if (i < end) {
      const SpanTail tail(span, i);
      step(tail.x, tail.weights);
    }
    fold();
  }
}

template <class Rounding>
[[gnu::always_inline]] inline double error_of_scale(const SpanValues& span, float scale, const Rounding& rounding) {
  double total = 0;
  Lanes sum{};
  for_runs(
      span,
      [&](const float* x, const float* weights) __attribute__((always_inline)) {
        for (std::size_t v = 0; v < kVectors; ++v) {
          const Vector value = load(x + v * kWidth);
          const Vector error = value - scale * rounding.point(value / scale);
          sum[v] += load(weights + v * kWidth) * error * error;
        }
      },
      [&]() __attribute__((always_inline)) {
        total += static_cast<double>(fold_lanes(sum));
        sum = Lanes{};
      });
  return total;
}

void span_errors(const SpanValues& span, const UnitPoints& points, const float* scales, std::size_t count,
                 double* errors) {
  with_rounding(points, [&](const auto& rounding) {
    for (std::size_t k = 0; k < count; ++k) errors[k] = error_of_scale(span, scales[k], rounding);
  });
}

template <class Rounding>
[[gnu::always_inline]] inline LeastSquares least_squares_of(const SpanValues& span, float scale,
                                                            const Rounding& rounding) {
  LeastSquares total;
  Lanes cross{}, square{};
  for_runs(
      span,
      [&](const float* x, const float* weights) __attribute__((always_inline)) {
        for (std::size_t v = 0; v < kVectors; ++v) {
          const Vector value = load(x + v * kWidth), weight = load(weights + v * kWidth);
          const Vector point = rounding.point(value / scale);
          cross[v] += weight * value * point;
          square[v] += weight * point * point;
        }
      },
      [&]() __attribute__((always_inline)) {
        total.cross += static_cast<double>(fold_lanes(cross));
        total.square += static_cast<double>(fold_lanes(square));
        cross = square = Lanes{};
      });
  return total;
}

void span_least_squares(const SpanValues& span, const UnitPoints& points, const float* scales, std::size_t count,
                        LeastSquares* sums) {
  with_rounding(points, [&](const auto& rounding) {
    for (std::size_t k = 0; k < count; ++k) sums[k] = least_squares_of(span, scales[k], rounding);
  });
}

template <class Rounding>
[[gnu::always_inline]] inline BiasedSums biased_sums_of(const SpanValues& span, float scale, float bias,
                                                        const Rounding& rounding) {
  BiasedSums total;
  Lanes lanes[4] = {};  // error, q, qq, qx
  for_runs(
      span,
      [&](const float* values, const float* weights) __attribute__((always_inline)) {
        for (std::size_t v = 0; v < kVectors; ++v) {
          const Vector value = load(values + v * kWidth), weight = load(weights + v * kWidth);
          const Vector above = value - bias, code = rounding.code(above / scale);
          const Vector off = above - scale * code;
          lanes[0][v] += weight * off * off;
          lanes[1][v] += weight * code;
          lanes[2][v] += weight * (code * code);
          lanes[3][v] += weight * (code * value);
        }
      },
      [&]() __attribute__((always_inline)) {
        float sums[4];
        fold_four(lanes, sums);
        total.error += static_cast<double>(sums[0]);
        total.q += static_cast<double>(sums[1]);
        total.qq += static_cast<double>(sums[2]);
        total.qx += static_cast<double>(sums[3]);
        for (Lanes& one : lanes) one = Lanes{};
      });
  return total;
}

BiasedSums span_biased_sums(const SpanValues& span, const UnitPoints& points, float scale, float bias) {
  return with_rounding(points, [&](const auto& rounding) { return biased_sums_of(span, scale, bias, rounding); });
}

template <class Rounding>
[[gnu::always_inline]] inline void sixteen_codes(const float* x, float scale, const Rounding& rounding,
                                                 std::uint8_t* codes) {
  Lanes lanes;
  for (std::size_t v = 0; v < kVectors; ++v) lanes[v] = rounding.code(load(x + v * kWidth) / scale);
  store_bytes(codes, lanes);
}

void span_codes(const float* x, std::size_t n, const UnitPoints& points, float scale, std::uint8_t* codes) {
  with_rounding(points, [&](const auto& rounding) {
    std::size_t i = 0;
    for (; i + kLanes <= n; i += kLanes) sixteen_codes(x + i, scale, rounding, codes + i);
    if (i == n) return;
    float values[kLanes] = {};
    std::uint8_t found[kLanes];
    std::memcpy(values, x + i, (n - i) * sizeof(float));
    sixteen_codes(values, scale, rounding, found);
    std::memcpy(codes + i, found, n - i);
  });
}

Extremes span_extremes(const float* x, std::size_t n) {
  Lanes low{}, high{};
  std::size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (std::size_t v = 0; v < kVectors; ++v) {
      const Vector value = load(x + i + v * kWidth);
      low[v] = min(value, low[v]);
      high[v] = max(value, high[v]);
    }
  }
  Extremes extremes{smallest_lane(low) + 0.0f, largest_lane(high) + 0.0f};  // no negative zero
  for (; i < n; ++i) {
    extremes.min = x[i] < extremes.min ? x[i] : extremes.min;
    extremes.max = x[i] > extremes.max ? x[i] : extremes.max;
  }
  return extremes;
}

constexpr SpanLoops kSpanLoops{span_extremes, span_errors, span_least_squares, span_biased_sums, span_codes};

}  // namespace
}  // namespace nibble
