// SPDX-License-Identifier: Apache-2.0
#include "format/planar_points.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace nibble {

namespace {

constexpr float kReserved = std::numeric_limits<float>::quiet_NaN();

// What the all-ones exponent means.
enum class TopExponent {
  numbers,             // E2M1, E2M3, E3M2: numbers like any other
  numbers_and_one_nan, // E4M3: numbers, but all ones throughout is NaN
  ieee,                // E5M2: infinities and NaN
};

std::vector<float> minifloat(int exponent_bits, int mantissa_bits, TopExponent top) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int top_exponent = (1 << exponent_bits) - 1, top_mantissa = (1 << mantissa_bits) - 1;
  std::vector<float> values;
  for (const float sign : {1.0f, -1.0f}) {
    for (int exponent = 0; exponent <= top_exponent; ++exponent) {
      for (int mantissa = 0; mantissa <= top_mantissa; ++mantissa) {
        const bool reserved = exponent == top_exponent && (top == TopExponent::ieee || (top == TopExponent::numbers_and_one_nan && mantissa == top_mantissa));
        const int whole = exponent == 0 ? mantissa : mantissa + top_mantissa + 1;
        values.push_back(reserved ? kReserved : sign * std::ldexp(static_cast<float>(whole), std::max(exponent, 1) - bias - mantissa_bits));
      }
    }
  }
  return values;
}

std::vector<float> nf4() {
  return {-1.0f,
          -0.6961928009986877f,
          -0.5250730514526367f,
          -0.39491748809814453f,
          -0.28444138169288635f,
          -0.18477343022823334f,
          -0.09105003625154495f,
          0.0f,
          0.07958029955625534f,
          0.16093020141124725f,
          0.24611230194568634f,
          0.33791524171829224f,
          0.44070982933044434f,
          0.5626170039176941f,
          0.7229568362236023f,
          1.0f};
}

std::vector<float> fp4() {
  std::vector<float> values;
  for (const float sign : {1.0f, -1.0f})
    for (const float twelfths : {0.0f, 0.0625f, 8.0f, 12.0f, 4.0f, 6.0f, 2.0f, 3.0f}) values.push_back(sign * (twelfths / 12.0f));
  return values;
}

}  // namespace

PointTable::PointTable(std::vector<float> value_of) : value_of_(std::move(value_of)) {
  std::vector<Code> order(value_of_.size());
  std::iota(order.begin(), order.end(), Code{0});
  std::erase_if(order, [&](Code code) { return is_reserved(code); });
  std::stable_sort(order.begin(), order.end(), [&](Code a, Code b) { return value_of_[a] < value_of_[b]; });
  for (const Code code : order) {
    if (!sorted_.empty() && sorted_.back() == value_of_[code]) continue;  // -0 after 0
    sorted_.push_back(value_of_[code]);
    code_of_.push_back(code);
  }
  for (std::size_t i = 1; i < sorted_.size(); ++i) middles_.push_back(0.5f * (sorted_[i - 1] + sorted_[i]));
}

bool PointTable::is_reserved(Code code) const { return std::isnan(value_of_[code]); }

Code PointTable::nearest(float x) const {
  const auto at = static_cast<std::size_t>(std::lower_bound(middles_.begin(), middles_.end(), x) - middles_.begin());
  if (at < middles_.size() && x == middles_[at] && code_of_[at] % 2 == 1 && code_of_[at + 1] % 2 == 0) return code_of_[at + 1];
  return code_of_[at];
}

const PointTable* point_table(PlanarPoints points) {
  static const PointTable kNf4(nf4()), kFp4(fp4());
  static const PointTable kE2M1(minifloat(2, 1, TopExponent::numbers)), kE2M3(minifloat(2, 3, TopExponent::numbers)),
      kE3M2(minifloat(3, 2, TopExponent::numbers)), kE4M3(minifloat(4, 3, TopExponent::numbers_and_one_nan)),
      kE5M2(minifloat(5, 2, TopExponent::ieee));
  switch (points) {
    case PlanarPoints::nf4: return &kNf4;
    case PlanarPoints::fp4: return &kFp4;
    case PlanarPoints::e2m1: return &kE2M1;
    case PlanarPoints::fp6_e2m3: return &kE2M3;
    case PlanarPoints::fp6_e3m2: return &kE3M2;
    case PlanarPoints::fp8_e4m3: return &kE4M3;
    case PlanarPoints::fp8_e5m2: return &kE5M2;
    default: return nullptr;
  }
}

}  // namespace nibble
