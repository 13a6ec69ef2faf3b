// SPDX-License-Identifier: Apache-2.0
#include "format/planar/points.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <numeric>

namespace nibble {

namespace {

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
    for (const float twelfths : {0.0f, 0.0625f, 8.0f, 12.0f, 4.0f, 6.0f, 2.0f, 3.0f})
      values.push_back(sign * (twelfths / 12.0f));
  return values;
}

std::vector<float> half_integers(unsigned bits) {
  const int levels = 1 << bits;
  std::vector<float> values;
  for (int code = 0; code < levels; ++code) values.push_back(0.5f * static_cast<float>(2 * code + 1 - levels));
  return values;
}

}  // namespace

PointTable::PointTable(std::vector<float> value_of) : value_of_(std::move(value_of)) {
  std::vector<Code> order(value_of_.size());
  std::iota(order.begin(), order.end(), Code{0});
  std::sort(order.begin(), order.end(),
            [&](Code a, Code b) { return value_of_[a] != value_of_[b] ? value_of_[a] < value_of_[b] : a < b; });
  std::size_t count = 0;
  for (const Code code : order) {
    if (count > 0 && sorted_[count - 1] == value_of_[code]) continue;  // -0 after 0
    sorted_[count] = value_of_[code];
    code_of_[count] = static_cast<std::uint8_t>(code);
    ++count;
  }
  max_ = sorted_[count - 1];
  middles_.fill(std::numeric_limits<float>::infinity());
  for (std::size_t i = 1; i < count; ++i) middles_[i - 1] = 0.5f * (sorted_[i - 1] + sorted_[i]);
  make_bins();
}

void PointTable::make_bins() {
  const float width = (max_ - sorted_[0]) / kBins;
  bins_per_unit_ = 1 / width;
  for (std::size_t bin = 0; bin < kBins; ++bin) {
    // A hundredth of a bin is far more than rounding can misplace a value by.
    const float low = sorted_[0] + (static_cast<float>(bin) - 0.01f) * width, high = low + 1.02f * width;
    std::size_t first = 0;
    while (middles_[first] < low) ++first;
    first_middle_[bin] = static_cast<std::uint8_t>(first);
    assert(first == middles_.size() - 1 || !(middles_[first + 1] <= high));
    static_cast<void>(high);
  }
}

PointTable::PointTable(int exponent_bits, int mantissa_bits, int num_reserved)
    : minifloat_{exponent_bits, mantissa_bits, 0} {
  const int codes_per_sign = 1 << (exponent_bits + mantissa_bits);
  for (const float sign : {1.0f, -1.0f}) {
    for (int code = 0; code < codes_per_sign; ++code) {
      const int exponent = code >> mantissa_bits, mantissa = code & ((1 << mantissa_bits) - 1);
      const int whole = exponent == 0 ? mantissa : mantissa + (1 << mantissa_bits);
      const float value = sign * std::ldexp(static_cast<float>(whole),
                                            std::max(exponent, 1) - 1 + minifloat_.min_exponent() - mantissa_bits);
      const bool is_reserved = code >= codes_per_sign - num_reserved;
      value_of_.push_back(is_reserved ? std::numeric_limits<float>::quiet_NaN() : value);
      if (!is_reserved) max_ = std::max(max_, value);
    }
  }
  minifloat_.max = max_;
}

UnitPoints PointTable::unit_points() const {
  UnitPoints points;
  if (is_minifloat()) {
    points.kind = UnitPoints::Kind::minifloat;
    points.mantissa_bits = minifloat_.mantissa_bits;
    points.min_exponent = minifloat_.min_exponent();
    points.sign_code = static_cast<int>(value_of_.size() / 2);
    points.max = max_;
  } else {
    points.kind = UnitPoints::Kind::listed;
    points.values = sorted_.data();
    points.middles = middles_.data();
    points.codes = code_of_.data();
  }
  return points;
}

Code PointTable::minifloat_code(float x) const {
  const float magnitude = round_magnitude(std::fabs(x));
  const int mantissa_bits = minifloat_.mantissa_bits, min_exponent = minifloat_.min_exponent();
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(magnitude);
  const int exponent = static_cast<int>(bits >> 23) - 127;
  int code;
  if (exponent < min_exponent) {
    code = static_cast<int>(std::ldexp(magnitude, mantissa_bits - min_exponent));
  } else {
    code =
        ((exponent - min_exponent + 1) << mantissa_bits) | static_cast<int>((bits & 0x7fffffu) >> (23 - mantissa_bits));
  }
  const bool is_negative = x < 0 && code != 0;
  return static_cast<Code>(is_negative ? code + static_cast<int>(value_of_.size() / 2) : code);
}

const PointTable* point_table(PlanarPoints points) {
  static const PointTable kNf4(nf4()), kFp4(fp4());
  // Reserved: E4M3 one NaN, E5M2 infinity and three NaNs.
  static const PointTable kE2M1(2, 1, 0), kE2M3(2, 3, 0), kE3M2(3, 2, 0), kE4M3(4, 3, 1), kE5M2(5, 2, 4);
  switch (points) {
    case PlanarPoints::nf4:
      return &kNf4;
    case PlanarPoints::fp4:
      return &kFp4;
    case PlanarPoints::e2m1:
      return &kE2M1;
    case PlanarPoints::fp6_e2m3:
      return &kE2M3;
    case PlanarPoints::fp6_e3m2:
      return &kE3M2;
    case PlanarPoints::fp8_e4m3:
      return &kE4M3;
    case PlanarPoints::fp8_e5m2:
      return &kE5M2;
    default:
      return nullptr;
  }
}

const PointTable* point_table(const PlanarSpec& spec) {
  static const PointTable kHalves[] = {PointTable(half_integers(2)), PointTable(half_integers(3)),
                                       PointTable(half_integers(4))};
  return spec.points == PlanarPoints::half_integer ? &kHalves[spec.bits - 2] : point_table(spec.points);
}

}  // namespace nibble
