// SPDX-License-Identifier: Apache-2.0
//
// Products of bf16 pairs with f32 sums, where the processor has AVX512_BF16. The instruction treats subnormals as zero
// and rounds after each of the two products, so its bits are its own: the same for any batch and thread count, not the
// same as other sets'.
#include <immintrin.h>

#include "kernels/avx512/parts.h"
#include "kernels/dense/bf16_packing.h"

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

// --- factors of products (dense/bf16_packing.h) ----------------------------------------------------------------------

inline __mmask16 first_lanes(std::size_t n) { return static_cast<__mmask16>(n < 16 ? (1u << n) - 1u : 0xffffu); }

inline __m512i narrow(__m512 low, __m512 high) { return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low)); }

// Sixteen numbers of each of two rows side by side.
inline __m512i pair_rows(__m512 even, __m512 odd) {
  alignas(64) static constexpr std::uint16_t kOrder[32] = {0,  16, 1,  17, 2,  18, 3,  19, 4,  20, 5,
                                                           21, 6,  22, 7,  23, 8,  24, 9,  25, 10, 26,
                                                           11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
  return _mm512_permutexvar_epi16(_mm512_load_si512(kOrder), narrow(even, odd));
}

// Sixteen rows of sixteen 32-bit numbers become columns.
[[gnu::always_inline]] inline void transpose(__m512i (&r)[16]) {
  __m512i a[16], b[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    a[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    a[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    b[i] = _mm512_unpacklo_epi64(a[i], a[i + 2]);
    b[i + 1] = _mm512_unpackhi_epi64(a[i], a[i + 2]);
    b[i + 2] = _mm512_unpacklo_epi64(a[i + 1], a[i + 3]);
    b[i + 3] = _mm512_unpackhi_epi64(a[i + 1], a[i + 3]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512i even = _mm512_shuffle_i32x4(b[i], b[i + 4], 0x88), odd = _mm512_shuffle_i32x4(b[i], b[i + 4], 0xdd);
    const __m512i even_below = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0x88),
                  odd_below = _mm512_shuffle_i32x4(b[i + 8], b[i + 12], 0xdd);
    r[i] = _mm512_shuffle_i32x4(even, even_below, 0x88);
    r[i + 4] = _mm512_shuffle_i32x4(odd, odd_below, 0x88);
    r[i + 8] = _mm512_shuffle_i32x4(even, even_below, 0xdd);
    r[i + 12] = _mm512_shuffle_i32x4(odd, odd_below, 0xdd);
  }
}

void pack_left(const float* in, std::size_t stride, std::size_t rows, std::size_t depth, std::uint16_t* out,
               std::size_t out_stride) {
  for (std::size_t i = 0; i < rows; ++i, in += stride, out += out_stride) {
    narrow_bf16(in, depth, out);
    if (depth % 2 != 0) out[depth] = 0;
  }
}

// The numbers k .. k + 2 of sixteen rows, or of `rows`.
inline __m512i load_pair(const float* in, std::size_t stride, std::size_t k, std::size_t depth, __mmask16 rows) {
  return pair_rows(_mm512_maskz_loadu_ps(k < depth ? rows : __mmask16{0}, in + k * stride),
                   _mm512_maskz_loadu_ps(k + 1 < depth ? rows : __mmask16{0}, in + (k + 1) * stride));
}

void pack_left_transposed(const float* in, std::size_t stride, std::size_t rows, std::size_t depth, std::uint16_t* out,
                          std::size_t out_stride) {
  for (std::size_t i = 0; i < rows; i += 16) {
    const std::size_t count = rows - i < 16 ? rows - i : 16;
    const __mmask16 lanes = first_lanes(count);
    for (std::size_t k = 0; k < depth; k += 32) {
      __m512i square[16];
#pragma GCC unroll 16
      for (std::size_t p = 0; p < 16; ++p) square[p] = load_pair(in + i, stride, k + 2 * p, depth, lanes);
      transpose(square);
      for (std::size_t r = 0; r < count; ++r) _mm512_storeu_si512(out + (i + r) * out_stride + k, square[r]);
    }
  }
}

void pack_panel(const float* in, std::size_t stride, std::size_t depth, std::size_t cols, std::uint16_t* out) {
  for (std::size_t k = 0; k < depth; k += 2, out += 128)
    for (std::size_t j = 0; j < 64; j += 16) {
      const __mmask16 lanes = first_lanes(j < cols ? cols - j : 0);
      _mm512_storeu_si512(out + 2 * j, load_pair(in + j, stride, k, depth, lanes));
    }
}

void pack_panel_transposed(const float* in, std::size_t stride, std::size_t depth, std::size_t cols,
                           std::uint16_t* out) {
  for (std::size_t j = 0; j < 64; j += 16)
    for (std::size_t k = 0; k < depth; k += 32) {
      const __mmask16 low = first_lanes(depth - k), high = first_lanes(depth - k > 16 ? depth - k - 16 : 0);
      __m512i square[16];
#pragma GCC unroll 16
      for (std::size_t r = 0; r < 16; ++r) {
        const float* const row = in + (j + r) * stride + k;
        const bool is_there = j + r < cols;
        square[r] = narrow(_mm512_maskz_loadu_ps(is_there ? low : __mmask16{0}, row),
                           _mm512_maskz_loadu_ps(is_there ? high : __mmask16{0}, row + 16));
      }
      transpose(square);
      for (std::size_t p = 0; p < 16 && k + 2 * p < depth; ++p)
        _mm512_storeu_si512(out + (k / 2 + p) * 128 + 2 * j, square[p]);
    }
}

}  // namespace

const Bf16Packing kBf16Packing = {pack_left, pack_left_transposed, pack_panel, pack_panel_transposed};

void fill_bf16(KernelTable& table) {
  table.bf16_tile = bf16_tile;
  table.bf16_peak = bf16_peak;
  table.narrow_bf16 = narrow_bf16;
  table.pair_bf16 = pair_bf16;
}

}  // namespace nibble::avx512
