// SPDX-License-Identifier: Apache-2.0
//
// Sixteen lanes in two 256-bit registers. Everything here has internal linkage: nothing compiled for this set can be
// picked for another.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

namespace nibble::avx2 {
namespace {

// The first n of 8 lanes; n above 8 counts as 8.
inline __m256i lanes_below(std::size_t n) {
  const int count = n < 8 ? static_cast<int>(n) : 8;
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
inline std::size_t beyond8(std::size_t n) { return n < 8 ? 0 : n - 8; }

struct F32 {
  __m256 a, b;  // lanes 0-7 and 8-15

  static F32 set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static F32 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static F32 load_part(const float* p, std::size_t n) {
    return {_mm256_maskload_ps(p, lanes_below(n)), _mm256_maskload_ps(p + 8, lanes_below(beyond8(n)))};
  }
  static F32 load_f16(const std::uint16_t* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
            _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 8)))};
  }
  static __m256 bf16_half(const std::uint16_t* p) {
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))), 16));
  }
  static F32 load_bf16(const std::uint16_t* p) { return {bf16_half(p), bf16_half(p + 8)}; }
  static __m128i load8(const void* p) { return _mm_loadl_epi64(static_cast<const __m128i*>(p)); }
  static __m256i widen_u8(const std::uint8_t* p) { return _mm256_cvtepu8_epi32(load8(p)); }
  static F32 load_u8(const std::uint8_t* p) {
    return {_mm256_cvtepi32_ps(widen_u8(p)), _mm256_cvtepi32_ps(widen_u8(p + 8))};
  }
  static F32 look_up(const float* table, const std::uint8_t* p) {
    return {_mm256_i32gather_ps(table, widen_u8(p), 4), _mm256_i32gather_ps(table, widen_u8(p + 8), 4)};
  }
  static __m256 load_bits8(const std::uint8_t* p, unsigned shift, unsigned mask) {
    const __m256i moved = _mm256_srl_epi32(widen_u8(p), _mm_cvtsi32_si128(static_cast<int>(shift)));
    return _mm256_cvtepi32_ps(_mm256_and_si256(moved, _mm256_set1_epi32(static_cast<int>(mask))));
  }
  static F32 load_bits(const std::uint8_t* p, unsigned shift, unsigned mask) {
    return {load_bits8(p, shift, mask), load_bits8(p + 8, shift, mask)};
  }
  template <int kShift>
  static F32 from_bits(const std::uint8_t* p) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(widen_u8(p), kShift)),
            _mm256_castsi256_ps(_mm256_slli_epi32(widen_u8(p + 8), kShift))};
  }
  void store(float* p) const {
    _mm256_storeu_ps(p, a);
    _mm256_storeu_ps(p + 8, b);
  }
  void store_part(float* p, std::size_t n) const {
    _mm256_maskstore_ps(p, lanes_below(n), a);
    _mm256_maskstore_ps(p + 8, lanes_below(beyond8(n)), b);
  }
  void store_f16(std::uint16_t* p) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm256_cvtps_ph(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 8),
                     _mm256_cvtps_ph(b, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static float square_root(float x) {
    return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x)));
  }  // the library's would set errno
};

inline F32 add(F32 x, F32 y) { return {_mm256_add_ps(x.a, y.a), _mm256_add_ps(x.b, y.b)}; }
inline F32 sub(F32 x, F32 y) { return {_mm256_sub_ps(x.a, y.a), _mm256_sub_ps(x.b, y.b)}; }
inline F32 mul(F32 x, F32 y) { return {_mm256_mul_ps(x.a, y.a), _mm256_mul_ps(x.b, y.b)}; }
inline F32 div(F32 x, F32 y) { return {_mm256_div_ps(x.a, y.a), _mm256_div_ps(x.b, y.b)}; }
inline F32 fma(F32 x, F32 y, F32 z) { return {_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b)}; }
inline F32 max(F32 x, F32 y) { return {_mm256_max_ps(x.a, y.a), _mm256_max_ps(x.b, y.b)}; }
inline F32 min(F32 x, F32 y) { return {_mm256_min_ps(x.a, y.a), _mm256_min_ps(x.b, y.b)}; }
inline F32 keep_where_at_least(F32 value, F32 x, F32 limit) {
  return {_mm256_and_ps(_mm256_cmp_ps(x.a, limit.a, _CMP_GE_OQ), value.a),
          _mm256_and_ps(_mm256_cmp_ps(x.b, limit.b, _CMP_GE_OQ), value.b)};
}
inline F32 first_lanes(F32 value, std::size_t n, F32 other) {
  return {_mm256_blendv_ps(other.a, value.a, _mm256_castsi256_ps(lanes_below(n))),
          _mm256_blendv_ps(other.b, value.b, _mm256_castsi256_ps(lanes_below(beyond8(n))))};
}
inline __m256 power_of_two_half(__m256 x) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_castps_si256(x), _mm256_set1_epi32(127)), 23));
}
inline F32 power_of_two_from_shifted(F32 x) { return {power_of_two_half(x.a), power_of_two_half(x.b)}; }

inline float sum_lanes(F32 x) {
  const __m256 by8 = _mm256_add_ps(x.a, x.b);
  const __m128 by4 = _mm_add_ps(_mm256_castps256_ps128(by8), _mm256_extractf128_ps(by8, 1));
  const __m128 by2 = _mm_add_ps(by4, _mm_movehl_ps(by4, by4));
  return _mm_cvtss_f32(_mm_add_ss(by2, _mm_movehdup_ps(by2)));
}
inline float max_lanes(F32 x) {
  const __m256 by8 = _mm256_max_ps(x.a, x.b);
  const __m128 by4 = _mm_max_ps(_mm256_castps256_ps128(by8), _mm256_extractf128_ps(by8, 1));
  const __m128 by2 = _mm_max_ps(by4, _mm_movehl_ps(by4, by4));
  return _mm_cvtss_f32(_mm_max_ss(by2, _mm_movehdup_ps(by2)));
}

struct F64 {
  __m256d v[4];
  static F64 set(double x) { return {{_mm256_set1_pd(x), _mm256_set1_pd(x), _mm256_set1_pd(x), _mm256_set1_pd(x)}}; }
  static F64 widen(F32 x) {
    return {{_mm256_cvtps_pd(_mm256_castps256_ps128(x.a)), _mm256_cvtps_pd(_mm256_extractf128_ps(x.a, 1)),
             _mm256_cvtps_pd(_mm256_castps256_ps128(x.b)), _mm256_cvtps_pd(_mm256_extractf128_ps(x.b, 1))}};
  }
};
inline F64 add(F64 x, F64 y) {
  for (int i = 0; i < 4; ++i) x.v[i] = _mm256_add_pd(x.v[i], y.v[i]);
  return x;
}
inline F64 sub(F64 x, F64 y) {
  for (int i = 0; i < 4; ++i) x.v[i] = _mm256_sub_pd(x.v[i], y.v[i]);
  return x;
}
inline F64 mul(F64 x, F64 y) {
  for (int i = 0; i < 4; ++i) x.v[i] = _mm256_mul_pd(x.v[i], y.v[i]);
  return x;
}
inline F64 fma(F64 x, F64 y, F64 z) {
  for (int i = 0; i < 4; ++i) z.v[i] = _mm256_fmadd_pd(x.v[i], y.v[i], z.v[i]);
  return z;
}
inline F64 max(F64 x, F64 y) {
  for (int i = 0; i < 4; ++i) x.v[i] = _mm256_max_pd(x.v[i], y.v[i]);
  return x;
}
inline F64 power_of_two_from_shifted(F64 x) {
  for (__m256d& part : x.v)
    part = _mm256_castsi256_pd(
        _mm256_slli_epi64(_mm256_add_epi64(_mm256_castpd_si256(part), _mm256_set1_epi64x(1023)), 52));
  return x;
}
inline double sum_lanes(F64 x) {
  const __m256d low = _mm256_add_pd(x.v[0], x.v[2]), high = _mm256_add_pd(x.v[1], x.v[3]);
  const __m256d by4 = _mm256_add_pd(low, high);
  const __m128d by2 = _mm_add_pd(_mm256_castpd256_pd128(by4), _mm256_extractf128_pd(by4, 1));
  return _mm_cvtsd_f64(_mm_add_sd(by2, _mm_unpackhi_pd(by2, by2)));
}

// Eight f64 lanes, for products.
struct Double {
  __m256d a, b;
  static Double set(double x) { return {_mm256_set1_pd(x), _mm256_set1_pd(x)}; }
  static Double load(const double* p) { return {_mm256_loadu_pd(p), _mm256_loadu_pd(p + 4)}; }
  void store(double* p) const {
    _mm256_storeu_pd(p, a);
    _mm256_storeu_pd(p + 4, b);
  }
};
inline Double fma(Double x, Double y, Double z) {
  return {_mm256_fmadd_pd(x.a, y.a, z.a), _mm256_fmadd_pd(x.b, y.b, z.b)};
}

}  // namespace
}  // namespace nibble::avx2
