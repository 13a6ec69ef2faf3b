// SPDX-License-Identifier: Apache-2.0
//
// The loops that take the time when a scale is sought: how well scales fit a span, and the codes for one. format/ has
// them for any processor, kernels/ once more for each instruction set, with the same bits. Functions neither throw nor
// allocate.
//
//   const SpanLoops& loops = plain_span_loops();
//   loops.errors({x, weights, n}, points, scales, 3, errors);       // three scales compared
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace nibble {

class Format;

// The points of a format at scale 1, as loops need them.
struct UnitPoints {
  enum class Kind : std::uint8_t { integers, listed, minifloat };
  Kind kind = Kind::integers;

  // integers: low .. high, as distances from the zero point, whose code is `zero`.
  float low = 0, high = 0, zero = 0;

  // listed: 16 ascending values, the 16 middles after each (infinite from the last on), the 16 codes.
  const float* values = nullptr;
  const float* middles = nullptr;
  const std::uint8_t* codes = nullptr;

  // minifloat: steps of 2^-mantissa_bits of the power of two below, from 2^min_exponent up; codes from sign_code on are
  // negative.
  int mantissa_bits = 0, min_exponent = 0, sign_code = 0;
  float max = 0;
};

// n values and as many non-negative weights.
struct SpanValues {
  const float* x;
  const float* weights;
  std::size_t n;
};

struct LeastSquares {
  double cross = 0, square = 0;  // sum w x p, sum w p^2 for the points p of a scale
};

// The same of points from a bias on, sum w (x - bias - s q)^2, and what a least-squares line through them is made of.
struct BiasedSums {
  double error = 0, q = 0, qq = 0, qx = 0;  // the latter: sum w q, sum w q^2, sum w q x for the codes q
};

struct Extremes {
  float min = 0, max = 0;  // always include 0
};

struct SpanLoops {
  Extremes (*extremes)(const float* x, std::size_t n);
  // errors[k] = sum w (x - s p(x / s))^2 for s = scales[k]. Sums run over sixteen lanes of f32 within 4096 values, and
  // in f64 across.
  void (*errors)(const SpanValues& span, const UnitPoints& points, const float* scales, std::size_t count,
                 double* errors);
  void (*least_squares)(const SpanValues& span, const UnitPoints& points, const float* scales, std::size_t count,
                        LeastSquares* sums);
  // Of the codes nearest to (x - bias) / scale.
  BiasedSums (*biased_sums)(const SpanValues& span, const UnitPoints& points, float scale, float bias);
  // The codes of the points nearest to x / scale.
  void (*codes)(const float* x, std::size_t n, const UnitPoints& points, float scale, std::uint8_t* codes);
};

const SpanLoops& plain_span_loops();

// A format whose searches are made of these loops.
class LoopedFormat {
 public:
  virtual ~LoopedFormat() = default;
  // The same format with other loops of the same bits.
  virtual std::shared_ptr<const Format> with_loops(const SpanLoops& loops) const = 0;
};

}  // namespace nibble
