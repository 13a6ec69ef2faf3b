// SPDX-License-Identifier: Apache-2.0
//
// How the grid of one span of a planar format is chosen. Scales are rounded to what can be stored before any code is
// chosen.
//
//   absmax, minmax       the range (which always includes 0) fills the codes: symmetric int8 amax / 127, fewer bits
//                        amax / (2^(b-1) - 1/2), asymmetric (max - min) / (2^b - 1); floats amax / largest value, with
//                        e8m0 scales 2^(floor(log2 amax) - floor(log2 largest value)) as OCP Microscaling says; ternary
//                        amax
//                        where scales have either sign, the largest magnitude with the far end of the codes
//   search               the (importance-weighted) squared error over a range of scales, each refined by least squares;
//   never worse
//                        than absmax; exact for ternary and binary. Learned tables: k-means.
//                        With a bias: the range is that of the numbers, 0 or not, its lower end the bias; searches draw
//                        both ends in and refine scale and bias together by least squares.
//   percentile, entropy  the range is cut off (clip.h), then absmax
//   absmean              ternary, binary: scale = mean |x| (BitNet b1.58, XNOR-Net); elsewhere as absmax
//   threshold            ternary: |x| > 0.7 mean |x| are kept, scale = their mean (Ternary Weight Networks); elsewhere
//   as absmax automatic            search below 7 bits, absmax from there on
#pragma once

#include <cstdint>
#include <span>

#include "format/format.h"
#include "format/planar/spec.h"
#include "format/span_loops.h"

namespace nibble {

// What scales of several levels are counted in: s6, s8: scale = base * code; dq: scale = base * dynamic_map[code] +
// offset. A base of 0 leaves such scales unrounded (when the units are about to be chosen).
struct ScaleUnit {
  float base = 0, offset = 0;
};

// One span's grid in memory. A learned table's points follow it as floats.
struct PlanarGrid {
  float scale = 1;              // storable
  float base = 0;               // scales of several levels: see ScaleUnit
  std::int32_t zero = 0;        // the stored code that decodes to 0, for integers and ternary
  float threshold = 0;          // ternary: magnitudes above it are kept. Not stored; half the scale after reading
  float offset = 0;             // dq: see ScaleUnit
  float bias = 0;               // what the stored code 0 decodes to, where the format has one; storable
  std::uint8_t scale_code = 0;  // dq: the stored code of the scale
};

// A scale rounded to its type, positive (zero only where no point is at zero), finite. Negative scales only where the
// format has them; what is nearest to a tiny scale in dq may be zero or less, as in its reference.
float storable_scale(float scale, ScaleType type, ScaleUnit unit);

// A bias rounded to its type, finite.
float storable_bias(float bias, ScaleType type);

// Integers as they are stored: codes 0 .. 2^bits - 1.
struct CodeRange {
  std::int32_t lo = 0, hi = 0, middle = 0;
};
CodeRange code_range(const PlanarSpec& spec);

// What x / scale is rounded to. Integers and fixed tables; zero: the code of 0.
UnitPoints unit_points(const PlanarSpec& spec, std::int32_t zero);

// The grid for x. Not for learned tables.
PlanarGrid fit_planar(const PlanarSpec& spec, std::span<const float> x, std::span<const float> importance,
                      const FitOptions& options, ScaleUnit unit, const SpanLoops& loops = plain_span_loops());

// A learned table of 2^bits ascending points rounded to `type`, by k-means in one dimension; with FitRule::absmax and
// minmax evenly spaced over the range.
void fit_table(const PlanarSpec& spec, std::span<const float> x, std::span<const float> importance,
               const FitOptions& options, std::span<float> table);

}  // namespace nibble
