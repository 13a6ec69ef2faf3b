// SPDX-License-Identifier: Apache-2.0
//
// Sixteen lanes in plain C++: the reference that the other sets are compared with. Also runs where there is no vector
// unit.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "base/half.h"

namespace nibble::scalar {
namespace {

struct I32 {
  static constexpr std::size_t kLanes = 16;
  std::int32_t v[16];
};

struct F32 {
  float v[16];

  static F32 set(float x) {
    F32 r;
    for (float& lane : r.v) lane = x;
    return r;
  }
  static F32 load(const float* p) {
    F32 r;
    std::memcpy(r.v, p, sizeof r.v);
    return r;
  }
  static F32 load_part(const float* p, std::size_t n) {
    F32 r = set(0);
    std::memcpy(r.v, p, n * sizeof(float));
    return r;
  }
  static F32 load_f16(const std::uint16_t* p) {
    F32 r;
    for (int i = 0; i < 16; ++i) r.v[i] = f16_to_f32(p[i]);
    return r;
  }
  static F32 load_bf16(const std::uint16_t* p) {
    F32 r;
    for (int i = 0; i < 16; ++i) r.v[i] = bf16_to_f32(p[i]);
    return r;
  }
  static F32 load_u8(const std::uint8_t* p) {
    F32 r;
    for (int i = 0; i < 16; ++i) r.v[i] = p[i];
    return r;
  }
  // (byte >> shift) & mask
  static F32 look_up(const float* table, const std::uint8_t* p) {
    F32 r;
    for (int i = 0; i < 16; ++i) r.v[i] = table[p[i]];
    return r;
  }
  static F32 load_bits(const std::uint8_t* p, unsigned shift, unsigned mask) {
    F32 r;
    for (int i = 0; i < 16; ++i) r.v[i] = static_cast<float>((p[i] >> shift) & mask);
    return r;
  }
  // Each byte, moved up by kShift, as the bits of a float.
  template <int kShift>
  static F32 from_bits(const std::uint8_t* p) {
    F32 r;
    for (int i = 0; i < 16; ++i) {
      const std::uint32_t bits = static_cast<std::uint32_t>(p[i]) << kShift;
      std::memcpy(&r.v[i], &bits, 4);
    }
    return r;
  }
  void store(float* p) const { std::memcpy(p, v, sizeof v); }
  void store_part(float* p, std::size_t n) const { std::memcpy(p, v, n * sizeof(float)); }
  void store_f16(std::uint16_t* p) const {
    for (int i = 0; i < 16; ++i) p[i] = f32_to_f16(v[i]);
  }
  static float square_root(float x) { return std::sqrt(x); }
};

inline F32 add(F32 a, F32 b) {
  for (int i = 0; i < 16; ++i) a.v[i] += b.v[i];
  return a;
}
inline F32 sub(F32 a, F32 b) {
  for (int i = 0; i < 16; ++i) a.v[i] -= b.v[i];
  return a;
}
inline F32 mul(F32 a, F32 b) {
  for (int i = 0; i < 16; ++i) a.v[i] *= b.v[i];
  return a;
}
inline F32 div(F32 a, F32 b) {
  for (int i = 0; i < 16; ++i) a.v[i] /= b.v[i];
  return a;
}
inline F32 fma(F32 a, F32 b, F32 c) {
  for (int i = 0; i < 16; ++i) c.v[i] = std::fma(a.v[i], b.v[i], c.v[i]);
  return c;
}
// The second operand where the comparison is false or unordered, as the vector units do.
inline F32 max(F32 a, F32 b) {
  for (int i = 0; i < 16; ++i) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
inline F32 min(F32 a, F32 b) {
  for (int i = 0; i < 16; ++i) a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
  return a;
}
// value where x >= limit, else +0.
inline F32 keep_where_at_least(F32 value, F32 x, F32 limit) {
  for (int i = 0; i < 16; ++i) value.v[i] = x.v[i] >= limit.v[i] ? value.v[i] : 0.0f;
  return value;
}
// value in the first n lanes, `other` in the rest.
inline F32 first_lanes(F32 value, std::size_t n, F32 other) {
  for (std::size_t i = n; i < 16; ++i) value.v[i] = other.v[i];
  return value;
}
// 2^(bits(x) - bits(1.5 * 2^23)): x holds a small integer in the low bits of its mantissa.
inline F32 power_of_two_from_shifted(F32 x) {
  for (float& lane : x.v) {
    std::uint32_t bits;
    std::memcpy(&bits, &lane, 4);
    bits = (bits + 127u) << 23;
    std::memcpy(&lane, &bits, 4);
  }
  return x;
}
// Halves are added or compared lane by lane: 16 to 8 to 4 to 2 to 1.
inline float sum_lanes(F32 a) {
  for (int half = 8; half != 0; half /= 2)
    for (int i = 0; i < half; ++i) a.v[i] += a.v[i + half];
  return a.v[0];
}
inline float max_lanes(F32 a) {
  for (int half = 8; half != 0; half /= 2)
    for (int i = 0; i < half; ++i) a.v[i] = a.v[i] > a.v[i + half] ? a.v[i] : a.v[i + half];
  return a.v[0];
}

// Sixteen f64 lanes, for sums that must not lose small terms.
struct F64 {
  double v[16];
  static F64 set(double x) {
    F64 r;
    for (double& lane : r.v) lane = x;
    return r;
  }
  static F64 widen(F32 x) {
    F64 r;
    for (int i = 0; i < 16; ++i) r.v[i] = static_cast<double>(x.v[i]);
    return r;
  }
};
inline F64 add(F64 a, F64 b) {
  for (int i = 0; i < 16; ++i) a.v[i] += b.v[i];
  return a;
}
inline F64 sub(F64 a, F64 b) {
  for (int i = 0; i < 16; ++i) a.v[i] -= b.v[i];
  return a;
}
inline F64 mul(F64 a, F64 b) {
  for (int i = 0; i < 16; ++i) a.v[i] *= b.v[i];
  return a;
}
inline F64 fma(F64 a, F64 b, F64 c) {
  for (int i = 0; i < 16; ++i) c.v[i] = std::fma(a.v[i], b.v[i], c.v[i]);
  return c;
}
inline F64 max(F64 a, F64 b) {
  for (int i = 0; i < 16; ++i) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
// 2^(bits(x) - bits(1.5 * 2^52)), as above.
inline F64 power_of_two_from_shifted(F64 x) {
  for (double& lane : x.v) {
    std::uint64_t bits;
    std::memcpy(&bits, &lane, 8);
    bits = (bits + 1023u) << 52;
    std::memcpy(&lane, &bits, 8);
  }
  return x;
}
inline double sum_lanes(F64 a) {
  for (int half = 8; half != 0; half /= 2)
    for (int i = 0; i < half; ++i) a.v[i] += a.v[i + half];
  return a.v[0];
}

// Eight f64 lanes, for products.
struct Double {
  double v[8];
  static Double set(double x) {
    Double r;
    for (double& lane : r.v) lane = x;
    return r;
  }
  static Double load(const double* p) {
    Double r;
    std::memcpy(r.v, p, sizeof r.v);
    return r;
  }
  void store(double* p) const { std::memcpy(p, v, sizeof v); }
};
inline Double fma(Double a, Double b, Double c) {
  for (int i = 0; i < 8; ++i) c.v[i] = std::fma(a.v[i], b.v[i], c.v[i]);
  return c;
}

}  // namespace
}  // namespace nibble::scalar
