// SPDX-License-Identifier: Apache-2.0
//
// Sixteen lanes in one 512-bit register. Everything here has internal linkage: nothing compiled for this set can be
// picked for another.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace nibble::avx512 {
namespace {

inline __mmask16 lanes_below(std::size_t n) { return static_cast<__mmask16>((1u << n) - 1u); }

struct F32 {
  __m512 v;

  static F32 set(float x) { return {_mm512_set1_ps(x)}; }
  static F32 load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static F32 load_part(const float* p, std::size_t n) { return {_mm512_maskz_loadu_ps(lanes_below(n), p)}; }
  static F32 load_f16(const std::uint16_t* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }
  static F32 load_bf16(const std::uint16_t* p) {
    return {_mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))), 16))};
  }
  static __m512i widen_u8(const std::uint8_t* p) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static F32 load_u8(const std::uint8_t* p) { return {_mm512_cvtepi32_ps(widen_u8(p))}; }
  static F32 look_up(const float* table, const std::uint8_t* p) { return {_mm512_i32gather_ps(widen_u8(p), table, 4)}; }
  static F32 load_bits(const std::uint8_t* p, unsigned shift, unsigned mask) {
    const __m512i moved = _mm512_srl_epi32(widen_u8(p), _mm_cvtsi32_si128(static_cast<int>(shift)));
    return {_mm512_cvtepi32_ps(_mm512_and_si512(moved, _mm512_set1_epi32(static_cast<int>(mask))))};
  }
  template <int kShift>
  static F32 from_bits(const std::uint8_t* p) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(widen_u8(p), kShift))};
  }
  void store(float* p) const { _mm512_storeu_ps(p, v); }
  void store_part(float* p, std::size_t n) const { _mm512_mask_storeu_ps(p, lanes_below(n), v); }
  void store_f16(std::uint16_t* p) const {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                        _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static float square_root(float x) {
    return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
  }  // the library's would set errno
};

inline F32 add(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F32 sub(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F32 mul(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F32 div(F32 a, F32 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F32 fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
inline F32 max(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline F32 min(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }
inline F32 keep_where_at_least(F32 value, F32 x, F32 limit) {
  return {_mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x.v, limit.v, _CMP_GE_OQ), value.v)};
}
inline F32 first_lanes(F32 value, std::size_t n, F32 other) {
  return {_mm512_mask_mov_ps(other.v, lanes_below(n), value.v)};
}
inline F32 power_of_two_from_shifted(F32 x) {
  return {
      _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_add_epi32(_mm512_castps_si512(x.v), _mm512_set1_epi32(127)), 23))};
}

inline __m256 upper_half(__m512 a) { return _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1)); }
inline float sum_lanes(F32 a) {
  const __m256 by8 = _mm256_add_ps(_mm512_castps512_ps256(a.v), upper_half(a.v));
  const __m128 by4 = _mm_add_ps(_mm256_castps256_ps128(by8), _mm256_extractf128_ps(by8, 1));
  const __m128 by2 = _mm_add_ps(by4, _mm_movehl_ps(by4, by4));
  return _mm_cvtss_f32(_mm_add_ss(by2, _mm_movehdup_ps(by2)));
}
inline float max_lanes(F32 a) {
  const __m256 by8 = _mm256_max_ps(_mm512_castps512_ps256(a.v), upper_half(a.v));
  const __m128 by4 = _mm_max_ps(_mm256_castps256_ps128(by8), _mm256_extractf128_ps(by8, 1));
  const __m128 by2 = _mm_max_ps(by4, _mm_movehl_ps(by4, by4));
  return _mm_cvtss_f32(_mm_max_ss(by2, _mm_movehdup_ps(by2)));
}

struct F64 {
  __m512d low, high;
  static F64 set(double x) { return {_mm512_set1_pd(x), _mm512_set1_pd(x)}; }
  static F64 widen(F32 x) { return {_mm512_cvtps_pd(_mm512_castps512_ps256(x.v)), _mm512_cvtps_pd(upper_half(x.v))}; }
};
inline F64 add(F64 a, F64 b) { return {_mm512_add_pd(a.low, b.low), _mm512_add_pd(a.high, b.high)}; }
inline F64 sub(F64 a, F64 b) { return {_mm512_sub_pd(a.low, b.low), _mm512_sub_pd(a.high, b.high)}; }
inline F64 mul(F64 a, F64 b) { return {_mm512_mul_pd(a.low, b.low), _mm512_mul_pd(a.high, b.high)}; }
inline F64 fma(F64 a, F64 b, F64 c) {
  return {_mm512_fmadd_pd(a.low, b.low, c.low), _mm512_fmadd_pd(a.high, b.high, c.high)};
}
inline F64 max(F64 a, F64 b) { return {_mm512_max_pd(a.low, b.low), _mm512_max_pd(a.high, b.high)}; }
inline __m512d power_of_two_half(__m512d x) {
  return _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_add_epi64(_mm512_castpd_si512(x), _mm512_set1_epi64(1023)), 52));
}
inline F64 power_of_two_from_shifted(F64 x) { return {power_of_two_half(x.low), power_of_two_half(x.high)}; }
inline double sum_lanes(F64 a) {
  const __m512d by8 = _mm512_add_pd(a.low, a.high);
  const __m256d by4 = _mm256_add_pd(_mm512_castpd512_pd256(by8), _mm512_extractf64x4_pd(by8, 1));
  const __m128d by2 = _mm_add_pd(_mm256_castpd256_pd128(by4), _mm256_extractf128_pd(by4, 1));
  return _mm_cvtsd_f64(_mm_add_sd(by2, _mm_unpackhi_pd(by2, by2)));
}

// Eight f64 lanes, for products.
struct Double {
  __m512d v;
  static Double set(double x) { return {_mm512_set1_pd(x)}; }
  static Double load(const double* p) { return {_mm512_loadu_pd(p)}; }
  void store(double* p) const { _mm512_storeu_pd(p, v); }
};
inline Double fma(Double a, Double b, Double c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }

}  // namespace
}  // namespace nibble::avx512
