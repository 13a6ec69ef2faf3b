// SPDX-License-Identifier: Apache-2.0
//
// Dot products of four bytes by SDOT, of eight bytes of two rows and two tokens by SMMLA, and of four by USDOT where
// activations are unsigned.
#pragma once

#include "kernels/neon_dot/quads.h"

namespace nibble::neon_i8mm {
namespace {

using neon::Bytes;
using neon::Sums;

// What two tokens have with the sixteen rows of a line: squares of two rows and the two tokens, in the order of SMMLA;
// of each four rows the first two in `low`.
struct Squares {
  Sums low, high;

  static Squares join(Sums first, Sums second) {
    return {{vzip1q_s32(first.a, second.a), vzip1q_s32(first.b, second.b), vzip1q_s32(first.c, second.c),
             vzip1q_s32(first.d, second.d)},
            {vzip2q_s32(first.a, second.a), vzip2q_s32(first.b, second.b), vzip2q_s32(first.c, second.c),
             vzip2q_s32(first.d, second.d)}};
  }
  // Of the first token, and of the second.
  Sums first() const {
    return {vuzp1q_s32(low.a, high.a), vuzp1q_s32(low.b, high.b), vuzp1q_s32(low.c, high.c), vuzp1q_s32(low.d, high.d)};
  }
  Sums second() const {
    return {vuzp2q_s32(low.a, high.a), vuzp2q_s32(low.b, high.b), vuzp2q_s32(low.c, high.c), vuzp2q_s32(low.d, high.d)};
  }
};

struct Quad : neon_dot::Quad {
  static Quad load(const std::int8_t* p) { return {neon_dot::Quad::load(p)}; }

  // lanes::add_dots, two quads of columns and two tokens at a time.
  static constexpr bool kTakesTokensInPairs = true;
  template <class Line, int MR>
  [[gnu::always_inline]] static inline void add_dots(const std::uint8_t* panel, std::size_t panel_stride,
                                                     std::size_t quads, const std::int8_t* x, std::size_t x_stride,
                                                     Sums (&sum)[MR][1]);
};
// In assembly for the same reason as SDOT.
[[gnu::always_inline]] inline void multiply_squares(int32x4_t& sum, int8x16_t rows, int8x16_t tokens) {
  __asm__("smmla %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(rows), "w"(tokens));
}

// Four rows of two lines, times two tokens.
[[gnu::always_inline]] inline void multiply_rows(int32x4_t& low, int32x4_t& high, uint8x16_t line, uint8x16_t next,
                                                 int8x16_t tokens) {
  const int32x4_t a = vreinterpretq_s32_u8(line), b = vreinterpretq_s32_u8(next);
  multiply_squares(low, vreinterpretq_s8_s32(vzip1q_s32(a, b)), tokens);
  multiply_squares(high, vreinterpretq_s8_s32(vzip2q_s32(a, b)), tokens);
}

template <class Line, int MR>
[[gnu::always_inline]] inline void Quad::add_dots(const std::uint8_t* panel, std::size_t panel_stride,
                                                  std::size_t quads, const std::int8_t* x, std::size_t x_stride,
                                                  Sums (&sum)[MR][1]) {
  constexpr int kPairs = MR / 2;
  Squares squares[kPairs];
#pragma GCC unroll 3
  for (int p = 0; p < kPairs; ++p) squares[p] = Squares::join(sum[2 * p][0], sum[2 * p + 1][0]);
  for (; quads >= 2; quads -= 2, panel += 2 * panel_stride, x += 8) {
    const Bytes line = Line::load(panel), next = Line::load(panel + panel_stride);
#pragma GCC unroll 3
    for (int p = 0; p < kPairs; ++p) {
      const int8x16_t tokens = vcombine_s8(vld1_s8(x + 2 * p * x_stride), vld1_s8(x + (2 * p + 1) * x_stride));
      multiply_rows(squares[p].low.a, squares[p].high.a, line.a, next.a, tokens);
      multiply_rows(squares[p].low.b, squares[p].high.b, line.b, next.b, tokens);
      multiply_rows(squares[p].low.c, squares[p].high.c, line.c, next.c, tokens);
      multiply_rows(squares[p].low.d, squares[p].high.d, line.d, next.d, tokens);
    }
    if constexpr (MR % 2 != 0) {
      sum[MR - 1][0] = dot(sum[MR - 1][0], line, load(x + (MR - 1) * x_stride));
      sum[MR - 1][0] = dot(sum[MR - 1][0], next, load(x + (MR - 1) * x_stride + 4));
    }
  }
#pragma GCC unroll 3
  for (int p = 0; p < kPairs; ++p) {
    sum[2 * p][0] = squares[p].first();
    sum[2 * p + 1][0] = squares[p].second();
  }
  if (quads == 0) return;
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m) sum[m][0] = dot(sum[m][0], Line::load(panel), load(x + m * x_stride));
}

// The same where they are unsigned, and the line's bytes signed.
struct UnsignedQuad {
  uint8x16_t v;
  static UnsignedQuad load(const std::uint8_t* p) { return {neon::repeat_word(p)}; }
};
[[gnu::always_inline]] inline Sums dot(Sums s, Bytes w, UnsignedQuad q) {
  using neon::as_signed;
  return {vusdotq_s32(s.a, q.v, as_signed(w.a)), vusdotq_s32(s.b, q.v, as_signed(w.b)),
          vusdotq_s32(s.c, q.v, as_signed(w.c)), vusdotq_s32(s.d, q.v, as_signed(w.d))};
}

}  // namespace
}  // namespace nibble::neon_i8mm
