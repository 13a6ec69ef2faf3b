// SPDX-License-Identifier: Apache-2.0
//
// Dot products of four bytes by SDOT, of eight bytes of two rows and two tokens by SMMLA, and of four by USDOT where
// activations are unsigned.
#pragma once

#include "kernels/neon/bytes.h"

namespace nibble::neon_i8mm {
namespace {

using neon::Bytes;
using neon::Sums;

// What two tokens have with the sixteen rows of a line: squares of two rows and the two tokens, in the order of SMMLA.
struct Squares {
  int32x4_t of[8];

  Squares(Sums first, Sums second) {
    begin(0, first.a, second.a);
    begin(2, first.b, second.b);
    begin(4, first.c, second.c);
    begin(6, first.d, second.d);
  }
  void begin(int at, int32x4_t first, int32x4_t second) {
    of[at] = vzip1q_s32(first, second);
    of[at + 1] = vzip2q_s32(first, second);
  }
  // Of the first token, and of the second.
  Sums first() const {
    return {vuzp1q_s32(of[0], of[1]), vuzp1q_s32(of[2], of[3]), vuzp1q_s32(of[4], of[5]), vuzp1q_s32(of[6], of[7])};
  }
  Sums second() const {
    return {vuzp2q_s32(of[0], of[1]), vuzp2q_s32(of[2], of[3]), vuzp2q_s32(of[4], of[5]), vuzp2q_s32(of[6], of[7])};
  }
};

struct Quad {
  using StoredKeys = neon::KeyBytes;
  int8x16_t v;
  static Quad load(const std::int8_t* p) { return {neon::as_signed(neon::repeat_word(p))}; }

  // lanes::add_dots, two quads of columns and two tokens at a time.
  static constexpr bool kTakesTokensInPairs = true;
  template <class Line, int MR>
  [[gnu::always_inline]] static inline void add_dots(const std::uint8_t* panel, std::size_t panel_stride,
                                                     std::size_t quads, const std::int8_t* x, std::size_t x_stride,
                                                     Sums (&sum)[MR][1]);
};
[[gnu::always_inline]] inline Sums dot(Sums s, Bytes w, Quad q) {
  using neon::as_signed;
  return {vdotq_s32(s.a, as_signed(w.a), q.v), vdotq_s32(s.b, as_signed(w.b), q.v), vdotq_s32(s.c, as_signed(w.c), q.v),
          vdotq_s32(s.d, as_signed(w.d), q.v)};
}

// Four rows of two lines, times all pairs of tokens.
template <int kPairs>
[[gnu::always_inline]] inline void add_part(uint8x16_t line, uint8x16_t next, const int8x16_t (&tokens)[kPairs], int at,
                                            Squares (&squares)[kPairs]) {
  const auto words = [](uint8x16_t x) { return vreinterpretq_s32_u8(x); };
  const int8x16_t low = vreinterpretq_s8_s32(vzip1q_s32(words(line), words(next))),
                  high = vreinterpretq_s8_s32(vzip2q_s32(words(line), words(next)));
#pragma GCC unroll 3
  for (int p = 0; p < kPairs; ++p) {
    squares[p].of[at] = vmmlaq_s32(squares[p].of[at], low, tokens[p]);
    squares[p].of[at + 1] = vmmlaq_s32(squares[p].of[at + 1], high, tokens[p]);
  }
}

template <class Line, int kPairs>
[[gnu::always_inline]] inline void add_pairs(const std::uint8_t* panel, std::size_t panel_stride, std::size_t quads,
                                             const std::int8_t* x, std::size_t x_stride, Squares (&squares)[kPairs]) {
  for (std::size_t q = 0; q < quads; q += 2, panel += 2 * panel_stride, x += 8) {
    int8x16_t tokens[kPairs];
#pragma GCC unroll 3
    for (int p = 0; p < kPairs; ++p)
      tokens[p] = vcombine_s8(vld1_s8(x + 2 * p * x_stride), vld1_s8(x + (2 * p + 1) * x_stride));
    const Bytes line = Line::load(panel), next = Line::load(panel + panel_stride);
    add_part<kPairs>(line.a, next.a, tokens, 0, squares);
    add_part<kPairs>(line.b, next.b, tokens, 2, squares);
    add_part<kPairs>(line.c, next.c, tokens, 4, squares);
    add_part<kPairs>(line.d, next.d, tokens, 6, squares);
  }
}

template <class Line, int MR>
[[gnu::always_inline]] inline void Quad::add_dots(const std::uint8_t* panel, std::size_t panel_stride,
                                                  std::size_t quads, const std::int8_t* x, std::size_t x_stride,
                                                  Sums (&sum)[MR][1]) {
  constexpr int kPairs = MR / 2;
  const std::size_t even = quads / 2 * 2;
  const auto take = [&](Squares(&&squares)[kPairs]) {
    add_pairs<Line, kPairs>(panel, panel_stride, even, x, x_stride, squares);
#pragma GCC unroll 3
    for (int p = 0; p < kPairs; ++p) {
      sum[2 * p][0] = squares[p].first();
      sum[2 * p + 1][0] = squares[p].second();
    }
  };
  if constexpr (kPairs == 1)
    take({{sum[0][0], sum[1][0]}});
  else if constexpr (kPairs == 2)
    take({{sum[0][0], sum[1][0]}, {sum[2][0], sum[3][0]}});
  else
    take({{sum[0][0], sum[1][0]}, {sum[2][0], sum[3][0]}, {sum[4][0], sum[5][0]}});
  const auto take_alone = [&](int m, std::size_t q) {
    sum[m][0] = dot(sum[m][0], Line::load(panel + q * panel_stride), load(x + m * x_stride + 4 * q));
  };
  if constexpr (MR % 2 != 0)
    for (std::size_t q = 0; q < even; ++q) take_alone(MR - 1, q);
  for (std::size_t q = even; q < quads; ++q)
    for (int m = 0; m < MR; ++m) take_alone(m, q);
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
