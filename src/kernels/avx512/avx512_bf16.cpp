// SPDX-License-Identifier: Apache-2.0
//
// Products of bf16 pairs with f32 sums, where the processor has AVX512_BF16. The instruction treats subnormals as zero
// and rounds after each of the two products, so its bits are its own: the same for any batch and thread count, not the
// same as other sets'.
#include <immintrin.h>

#include "kernels/avx512/parts.h"

namespace nibble::avx512 {
namespace {

// The intrinsic would do, but g++ 12 gives its in-out operand two homes and spills every accumulator of a large tile in
// every step.
[[gnu::always_inline]] inline void add_pairs(__m512& sum, __m512i w, __m512i x) {
  __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
}

[[gnu::always_inline]] inline __m512i broadcast_pair(const std::uint16_t* p) {
  std::int32_t bits;
  __builtin_memcpy(&bits, p, 4);
  return _mm512_set1_epi32(bits);
}

template <int MR>
[[gnu::noinline]] void register_tile(const std::uint16_t* panel, std::size_t pairs, const std::uint16_t* x,
                                     std::size_t x_stride, float* y, std::size_t y_stride, int accumulate) {
  __m512 sum[MR][4];
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n)
      sum[m][n] = accumulate != 0 ? _mm512_loadu_ps(y + m * y_stride + 16 * n) : _mm512_setzero_ps();
  for (std::size_t k = 0; k < pairs; ++k) {
    __m512i w[4];
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) {
      w[n] = _mm512_loadu_si512(panel + 32 * n);
      __builtin_prefetch(panel + 128 * 32 + 32 * n, 0, 2);
    }
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      const __m512i value = broadcast_pair(x + m * x_stride + 2 * k);
#pragma GCC unroll 4
      for (int n = 0; n < 4; ++n) add_pairs(sum[m][n], w[n], value);
    }
    panel += 128;
  }
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < 4; ++n) _mm512_storeu_ps(y + m * y_stride + 16 * n, sum[m][n]);
}

void bf16_tile(const std::uint16_t* panel, std::size_t pairs, const std::uint16_t* x, std::size_t x_stride,
               std::size_t tokens, float* y, std::size_t y_stride, int accumulate) {
  std::size_t t = 0;
  for (; t + 6 <= tokens; t += 6)
    register_tile<6>(panel, pairs, x + t * x_stride, x_stride, y + t * y_stride, y_stride, accumulate);
  for (; t + 2 <= tokens; t += 2)
    register_tile<2>(panel, pairs, x + t * x_stride, x_stride, y + t * y_stride, y_stride, accumulate);
  for (; t < tokens; ++t)
    register_tile<1>(panel, pairs, x + t * x_stride, x_stride, y + t * y_stride, y_stride, accumulate);
}

void narrow_bf16(const float* in, std::size_t count, std::uint16_t* out) {
  for (std::size_t i = 0; i < count; i += 16) {
    const __mmask16 lanes =
        count - i < 16 ? static_cast<__mmask16>((1u << (count - i)) - 1u) : static_cast<__mmask16>(0xffff);
    const __m256bh narrow = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(lanes, in + i));
    _mm256_mask_storeu_epi16(out + i, lanes, reinterpret_cast<__m256i>(narrow));
  }
}

void pair_bf16(const float* in, std::size_t columns, std::uint16_t* out) {
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
  for (std::size_t c = 0; c < columns; c += 2, in += 128, out += 128)
    for (std::size_t v = 0; v < 64; v += 16) {
      const __m512i even = _mm512_srli_epi32(_mm512_loadu_si512(in + v), 16), odd = _mm512_loadu_si512(in + 64 + v);
      _mm512_storeu_si512(out + 2 * v, _mm512_ternarylogic_epi32(even, odd, upper, 0xf8));  // even | (odd & upper)
    }
}

float bf16_peak(std::size_t iterations) {
  __m512 sum[12];
  const __m512i w = _mm512_set1_epi32(0x3f803f80), x = _mm512_set1_epi32(0x3c003c00);
#pragma GCC unroll 12
  for (int i = 0; i < 12; ++i) sum[i] = _mm512_set1_ps(static_cast<float>(i));
  for (std::size_t k = 0; k < iterations; ++k) {
#pragma GCC unroll 12
    for (int i = 0; i < 12; ++i) add_pairs(sum[i], w, x);
  }
#pragma GCC unroll 12
  for (int i = 1; i < 12; ++i) sum[0] = _mm512_add_ps(sum[0], sum[i]);
  return _mm512_cvtss_f32(sum[0]);
}

}  // namespace

void fill_bf16(KernelTable& table) {
  table.bf16_tile = bf16_tile;
  table.bf16_peak = bf16_peak;
  table.narrow_bf16 = narrow_bf16;
  table.pair_bf16 = pair_bf16;
}

}  // namespace nibble::avx512
