// SPDX-License-Identifier: Apache-2.0
//
// Sixteen lanes in four 128-bit registers of Advanced SIMD. Everything here has internal linkage: nothing compiled for
// this set can be picked for another.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace nibble::neon {
namespace {

// The first n of 4 lanes that begin at lane `first`.
inline uint32x4_t lanes_below(std::size_t n, std::uint32_t first) {
  const uint32x4_t lane = {first, first + 1, first + 2, first + 3};
  return vcltq_u32(lane, vdupq_n_u32(static_cast<std::uint32_t>(n)));
}
// n of four, zeros behind them; nothing beyond is read.
inline float32x4_t load_some(const float* p, std::size_t n) {
  const float32x4_t zero = vdupq_n_f32(0);
  if (n >= 4) return vld1q_f32(p);
  if (n == 3) return vld1q_lane_f32(p + 2, vcombine_f32(vld1_f32(p), vdup_n_f32(0)), 2);
  if (n == 2) return vcombine_f32(vld1_f32(p), vdup_n_f32(0));
  return n == 1 ? vld1q_lane_f32(p, zero, 0) : zero;
}
inline void store_some(float* p, float32x4_t x, std::size_t n) {
  if (n >= 4) return vst1q_f32(p, x);
  if (n >= 2) vst1_f32(p, vget_low_f32(x));
  if (n == 3) vst1q_lane_f32(p + 2, x, 2);
  if (n == 1) vst1q_lane_f32(p, x, 0);
}
inline std::size_t beyond(std::size_t n, std::size_t lanes) { return n < lanes ? 0 : n - lanes; }

// Sixteen bytes as words of 32 bits.
struct Words {
  uint32x4_t a, b, c, d;
};
inline Words widen_bytes(uint8x16_t x) {
  const uint16x8_t low = vmovl_u8(vget_low_u8(x)), high = vmovl_high_u8(x);
  return {vmovl_u16(vget_low_u16(low)), vmovl_high_u16(low), vmovl_u16(vget_low_u16(high)), vmovl_high_u16(high)};
}

struct F32 {
  float32x4_t a, b, c, d;  // lanes 0-3, 4-7, 8-11 and 12-15

  static F32 set(float x) {
    const float32x4_t all = vdupq_n_f32(x);
    return {all, all, all, all};
  }
  static F32 load(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4), vld1q_f32(p + 8), vld1q_f32(p + 12)}; }
  static F32 load_part(const float* p, std::size_t n) {
    return {load_some(p, n), load_some(p + 4, beyond(n, 4)), load_some(p + 8, beyond(n, 8)),
            load_some(p + 12, beyond(n, 12))};
  }
  static float32x4_t widen_f16(uint16x4_t bits) { return vcvt_f32_f16(vreinterpret_f16_u16(bits)); }
  static F32 load_f16(const std::uint16_t* p) {
    const uint16x8_t low = vld1q_u16(p), high = vld1q_u16(p + 8);
    return {widen_f16(vget_low_u16(low)), vcvt_high_f32_f16(vreinterpretq_f16_u16(low)), widen_f16(vget_low_u16(high)),
            vcvt_high_f32_f16(vreinterpretq_f16_u16(high))};
  }
  static float32x4_t upper(uint32x4_t half) { return vreinterpretq_f32_u32(vshlq_n_u32(half, 16)); }
  static F32 load_bf16(const std::uint16_t* p) {
    const uint16x8_t low = vld1q_u16(p), high = vld1q_u16(p + 8);
    return {upper(vmovl_u16(vget_low_u16(low))), upper(vmovl_high_u16(low)), upper(vmovl_u16(vget_low_u16(high))),
            upper(vmovl_high_u16(high))};
  }
  static F32 numbers(const Words& w) {
    return {vcvtq_f32_u32(w.a), vcvtq_f32_u32(w.b), vcvtq_f32_u32(w.c), vcvtq_f32_u32(w.d)};
  }
  static F32 load_u8(const std::uint8_t* p) { return numbers(widen_bytes(vld1q_u8(p))); }
  static F32 look_up(const float* table, const std::uint8_t* p) {
    float lanes[16];
    for (int i = 0; i < 16; ++i) lanes[i] = table[p[i]];
    return load(lanes);
  }
  static F32 load_bits(const std::uint8_t* p, unsigned shift, unsigned mask) {
    const uint8x16_t moved = vshlq_u8(vld1q_u8(p), vdupq_n_s8(static_cast<std::int8_t>(-static_cast<int>(shift))));
    return numbers(widen_bytes(vandq_u8(moved, vdupq_n_u8(static_cast<std::uint8_t>(mask)))));
  }
  // Each byte, moved up by kShift, as the bits of a float.
  template <int kShift>
  static F32 from_bits(const std::uint8_t* p) {
    const Words w = widen_bytes(vld1q_u8(p));
    return {vreinterpretq_f32_u32(vshlq_n_u32(w.a, kShift)), vreinterpretq_f32_u32(vshlq_n_u32(w.b, kShift)),
            vreinterpretq_f32_u32(vshlq_n_u32(w.c, kShift)), vreinterpretq_f32_u32(vshlq_n_u32(w.d, kShift))};
  }
  void store(float* p) const {
    vst1q_f32(p, a);
    vst1q_f32(p + 4, b);
    vst1q_f32(p + 8, c);
    vst1q_f32(p + 12, d);
  }
  void store_part(float* p, std::size_t n) const {
    store_some(p, a, n);
    store_some(p + 4, b, beyond(n, 4));
    store_some(p + 8, c, beyond(n, 8));
    store_some(p + 12, d, beyond(n, 12));
  }
  void store_f16(std::uint16_t* p) const {
    vst1q_u16(p, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(a), b)));
    vst1q_u16(p + 8, vreinterpretq_u16_f16(vcvt_high_f16_f32(vcvt_f16_f32(c), d)));
  }
  static float square_root(float x) { return vgetq_lane_f32(vsqrtq_f32(vdupq_n_f32(x)), 0); }
};

inline F32 add(F32 x, F32 y) {
  return {vaddq_f32(x.a, y.a), vaddq_f32(x.b, y.b), vaddq_f32(x.c, y.c), vaddq_f32(x.d, y.d)};
}
inline F32 sub(F32 x, F32 y) {
  return {vsubq_f32(x.a, y.a), vsubq_f32(x.b, y.b), vsubq_f32(x.c, y.c), vsubq_f32(x.d, y.d)};
}
inline F32 mul(F32 x, F32 y) {
  return {vmulq_f32(x.a, y.a), vmulq_f32(x.b, y.b), vmulq_f32(x.c, y.c), vmulq_f32(x.d, y.d)};
}
inline F32 div(F32 x, F32 y) {
  return {vdivq_f32(x.a, y.a), vdivq_f32(x.b, y.b), vdivq_f32(x.c, y.c), vdivq_f32(x.d, y.d)};
}
inline F32 fma(F32 x, F32 y, F32 z) {
  return {vfmaq_f32(z.a, x.a, y.a), vfmaq_f32(z.b, x.b, y.b), vfmaq_f32(z.c, x.c, y.c), vfmaq_f32(z.d, x.d, y.d)};
}
// The second operand where the comparison is false or unordered. (FMAX and FMIN would give NaN.)
inline float32x4_t larger(float32x4_t x, float32x4_t y) { return vbslq_f32(vcgtq_f32(x, y), x, y); }
inline float32x4_t smaller(float32x4_t x, float32x4_t y) { return vbslq_f32(vcltq_f32(x, y), x, y); }
inline F32 max(F32 x, F32 y) { return {larger(x.a, y.a), larger(x.b, y.b), larger(x.c, y.c), larger(x.d, y.d)}; }
inline F32 min(F32 x, F32 y) { return {smaller(x.a, y.a), smaller(x.b, y.b), smaller(x.c, y.c), smaller(x.d, y.d)}; }
inline float32x4_t where(uint32x4_t mask, float32x4_t x) {
  return vreinterpretq_f32_u32(vandq_u32(mask, vreinterpretq_u32_f32(x)));
}
inline F32 keep_where_at_least(F32 value, F32 x, F32 limit) {
  return {where(vcgeq_f32(x.a, limit.a), value.a), where(vcgeq_f32(x.b, limit.b), value.b),
          where(vcgeq_f32(x.c, limit.c), value.c), where(vcgeq_f32(x.d, limit.d), value.d)};
}
inline F32 first_lanes(F32 value, std::size_t n, F32 other) {
  return {vbslq_f32(lanes_below(n, 0), value.a, other.a), vbslq_f32(lanes_below(n, 4), value.b, other.b),
          vbslq_f32(lanes_below(n, 8), value.c, other.c), vbslq_f32(lanes_below(n, 12), value.d, other.d)};
}
inline float32x4_t power_of_two_of(float32x4_t x) {
  return vreinterpretq_f32_u32(vshlq_n_u32(vaddq_u32(vreinterpretq_u32_f32(x), vdupq_n_u32(127)), 23));
}
inline F32 power_of_two_from_shifted(F32 x) {
  return {power_of_two_of(x.a), power_of_two_of(x.b), power_of_two_of(x.c), power_of_two_of(x.d)};
}

inline float sum_lanes(F32 x) {
  const float32x4_t by4 = vaddq_f32(vaddq_f32(x.a, x.c), vaddq_f32(x.b, x.d));
  const float32x2_t by2 = vadd_f32(vget_low_f32(by4), vget_high_f32(by4));
  return vget_lane_f32(by2, 0) + vget_lane_f32(by2, 1);
}
inline float max_lanes(F32 x) {
  const float32x4_t by4 = larger(larger(x.a, x.c), larger(x.b, x.d));
  const float32x2_t low = vget_low_f32(by4), high = vget_high_f32(by4), by2 = vbsl_f32(vcgt_f32(low, high), low, high);
  const float first = vget_lane_f32(by2, 0), second = vget_lane_f32(by2, 1);
  return first > second ? first : second;
}

struct F64 {
  float64x2_t v[8];
  static F64 set(double x) {
    F64 all;
    for (float64x2_t& part : all.v) part = vdupq_n_f64(x);
    return all;
  }
  static F64 widen(F32 x) {
    return {{vcvt_f64_f32(vget_low_f32(x.a)), vcvt_high_f64_f32(x.a), vcvt_f64_f32(vget_low_f32(x.b)),
             vcvt_high_f64_f32(x.b), vcvt_f64_f32(vget_low_f32(x.c)), vcvt_high_f64_f32(x.c),
             vcvt_f64_f32(vget_low_f32(x.d)), vcvt_high_f64_f32(x.d)}};
  }
};
inline F64 add(F64 x, F64 y) {
  for (int i = 0; i < 8; ++i) x.v[i] = vaddq_f64(x.v[i], y.v[i]);
  return x;
}
inline F64 sub(F64 x, F64 y) {
  for (int i = 0; i < 8; ++i) x.v[i] = vsubq_f64(x.v[i], y.v[i]);
  return x;
}
inline F64 mul(F64 x, F64 y) {
  for (int i = 0; i < 8; ++i) x.v[i] = vmulq_f64(x.v[i], y.v[i]);
  return x;
}
inline F64 fma(F64 x, F64 y, F64 z) {
  for (int i = 0; i < 8; ++i) z.v[i] = vfmaq_f64(z.v[i], x.v[i], y.v[i]);
  return z;
}
inline F64 max(F64 x, F64 y) {
  for (int i = 0; i < 8; ++i) x.v[i] = vbslq_f64(vcgtq_f64(x.v[i], y.v[i]), x.v[i], y.v[i]);
  return x;
}
inline F64 power_of_two_from_shifted(F64 x) {
  for (float64x2_t& part : x.v)
    part = vreinterpretq_f64_u64(vshlq_n_u64(vaddq_u64(vreinterpretq_u64_f64(part), vdupq_n_u64(1023)), 52));
  return x;
}
inline double sum_lanes(F64 x) {
  float64x2_t by8[4];
  for (int i = 0; i < 4; ++i) by8[i] = vaddq_f64(x.v[i], x.v[i + 4]);
  const float64x2_t by2 = vaddq_f64(vaddq_f64(by8[0], by8[2]), vaddq_f64(by8[1], by8[3]));
  return vgetq_lane_f64(by2, 0) + vgetq_lane_f64(by2, 1);
}

// Eight f64 lanes, for products.
struct Double {
  float64x2_t a, b, c, d;
  static Double set(double x) {
    const float64x2_t all = vdupq_n_f64(x);
    return {all, all, all, all};
  }
  static Double load(const double* p) { return {vld1q_f64(p), vld1q_f64(p + 2), vld1q_f64(p + 4), vld1q_f64(p + 6)}; }
  void store(double* p) const {
    vst1q_f64(p, a);
    vst1q_f64(p + 2, b);
    vst1q_f64(p + 4, c);
    vst1q_f64(p + 6, d);
  }
};
inline Double fma(Double x, Double y, Double z) {
  return {vfmaq_f64(z.a, x.a, y.a), vfmaq_f64(z.b, x.b, y.b), vfmaq_f64(z.c, x.c, y.c), vfmaq_f64(z.d, x.d, y.d)};
}

}  // namespace
}  // namespace nibble::neon
