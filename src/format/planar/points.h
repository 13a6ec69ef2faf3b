// SPDX-License-Identifier: Apache-2.0
//
// Points that are not integers: fixed tables of values by code.
//
//   half integers  odd multiples of 1/2, from -(2^bits - 1) / 2 up (Qift, arXiv:2606.02823)
//   NF4            Dettmers et al. 2023 (QLoRA), the constants of bitsandbytes
//   FP4            bitsandbytes' own 4-bit float, by bit pattern, normalised to 1
//   E2M1 .. E5M2   OCP Microscaling Formats 1.0 and OFP8 1.0
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "format/format.h"
#include "format/planar/spec.h"
#include "format/scale.h"
#include "format/span_loops.h"

namespace nibble {

// A small binary float: sign, exponent, mantissa; subnormals below 2^min_exponent.
struct Minifloat {
  int exponent_bits = 0, mantissa_bits = 0;
  float max = 0;
  int min_exponent() const { return 2 - (1 << (exponent_bits - 1)); }
};

class PointTable {
 public:
  // value_of[code]; NaN marks a reserved code, which is never chosen. At most 16 values.
  explicit PointTable(std::vector<float> value_of);
  // num_reserved: codes at the top of each sign that are no numbers.
  PointTable(int exponent_bits, int mantissa_bits, int num_reserved);

  float value(Code code) const { return value_of_[code]; }
  bool is_reserved(Code code) const { return std::isnan(value_of_[code]); }
  float max() const { return max_; }  // the largest value, and the largest magnitude too
  bool is_minifloat() const { return minifloat_.exponent_bits != 0; }

  // The value nearest to x and its code; ties go to the even code.
  float round(float x) const { return is_minifloat() ? round_minifloat(x) : round_listed(x); }
  Code nearest(float x) const { return is_minifloat() ? minifloat_code(x) : code_of_[nearest_index(x)]; }

  // For loops over many values. Valid as long as the table.
  UnitPoints unit_points() const;

  float round_listed(float x) const { return sorted_[nearest_index(x)]; }

 private:
  // The range is cut into bins so narrow that each meets at most one of the middles between neighbours: one comparison
  // decides.
  static constexpr std::size_t kBins = 512;
  std::size_t nearest_index(float x) const {
    const auto bin = static_cast<std::size_t>(clamp_float((x - sorted_[0]) * bins_per_unit_, 0, kBins - 1));
    const std::size_t below = first_middle_[bin];
    return below + (x > middles_[below] ? 1 : 0);
  }
  void make_bins();

  float round_minifloat(float x) const { return std::copysign(round_magnitude(std::fabs(x)), x); }
  float round_magnitude(float magnitude) const {
    magnitude = std::min(magnitude, minifloat_.max);
    const int exponent =
        std::max(static_cast<int>(std::bit_cast<std::uint32_t>(magnitude) >> 23) - 127, minifloat_.min_exponent());
    const float step =
        std::bit_cast<float>(static_cast<std::uint32_t>(exponent - minifloat_.mantissa_bits + 127) << 23);
    return (magnitude / step + 12582912.0f - 12582912.0f) * step;
  }
  Code minifloat_code(float x) const;

  Minifloat minifloat_;
  float max_ = 0;
  std::vector<float> value_of_;
  // Of listed points: distinct values, ascending; middles after the last are infinite.
  std::array<float, 16> sorted_{};
  std::array<float, 16> middles_{};
  std::array<std::uint8_t, 16> code_of_{};
  std::array<std::uint8_t, kBins> first_middle_{};
  float bins_per_unit_ = 0;
};

// Of points that are the same whatever else their spec says; null for integers, ternary, binary and learned tables, and
// for half integers, which differ by their bits.
const PointTable* point_table(PlanarPoints points);
// Null for integers, ternary, binary and learned tables.
const PointTable* point_table(const PlanarSpec& spec);

}  // namespace nibble
