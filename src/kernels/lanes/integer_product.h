// SPDX-License-Identifier: Apache-2.0
//
// Products of weight operands with signed 8-bit activations. Dot products are exact in 32 bits
// (integer_shape.h); scales are applied group by group in ascending order, so every tile shape and instruction set
// gives the same bits. Wide codes are looked at where a token of the tile has some; other tokens' are zeros there, so
// that who shares a tile changes nothing.
#pragma once

#include "kernels/linear/integer_shape.h"

namespace nibble::lanes {

// sum[m][n] += dot products of MR tokens, x_stride apart, and NV lines of each quad of columns, panel_stride apart.
template <class Bytes, class Sums, class Quad, int MR, int NV, class Code>
[[gnu::always_inline]] static inline void add_dots(const std::uint8_t* panel, std::size_t panel_stride,
                                                   std::size_t quads, const Code* x, std::size_t x_stride,
                                                   Sums (&sum)[MR][NV]) {
  if constexpr (NV == 1 && MR > 1 && requires { Quad::kTakesTokensInPairs; })
    return Quad::template add_dots<Bytes>(panel, panel_stride, quads, x, x_stride, sum);
  for (std::size_t q = 0; q < quads; ++q) {
    Bytes w[NV];
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) w[n] = Bytes::load(panel + 64 * n);
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      const Quad value = Quad::load(x + m * x_stride);
#pragma GCC unroll 4
      for (int n = 0; n < NV; ++n) sum[m][n] = dot(sum[m][n], w[n], value);
    }
    panel += panel_stride;
    x += 4;
  }
}

// sum[m][n] = bias[m]
template <class Sums, int MR, int NV>
[[gnu::always_inline]] static inline void begin_with_biases(const std::int32_t* biases, std::size_t bias_stride,
                                                            Sums (&sum)[MR][NV]) {
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m) {
    const Sums bias = Sums::set(biases[static_cast<std::size_t>(m) * bias_stride]);
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) sum[m][n] = bias;
  }
}

// One group of columns for MR tokens x NV vectors of rows: sum[m][n] = bias + dot products.
template <class Bytes, class Sums, class Quad, int MR, int NV>
[[gnu::always_inline]] static inline void group_dots(const std::uint8_t* panel, std::size_t quads, const std::int8_t* x,
                                                     std::size_t x_stride, const std::int32_t* biases,
                                                     std::size_t bias_stride, Sums (&sum)[MR][NV]) {
  begin_with_biases(biases, bias_stride, sum);
  add_dots<Bytes, Sums, Quad, MR, NV>(panel, 256, quads, x, x_stride, sum);
}

// 128 times the products of wide codes, added, for the quads of a group of which `wide` has the bits.
template <class Bytes, class Sums, class Quad, int MR, int NV>
[[gnu::always_inline]] static inline void add_wide_dots(const std::uint8_t* panel, std::uint64_t wide,
                                                        const std::int8_t* x, std::size_t x_stride,
                                                        Sums (&sum)[MR][NV]) {
  for (; wide != 0; wide &= wide - 1) {
    const std::size_t q = static_cast<std::size_t>(__builtin_ctzll(wide));
    Bytes w[NV];
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) w[n] = Bytes::load(panel + 256 * q + 64 * n);
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      const Quad value = Quad::load(x + m * x_stride + 4 * q);
#pragma GCC unroll 4
      for (int n = 0; n < NV; ++n) sum[m][n] = add(sum[m][n], shift_left<kWideShift>(dot(Sums::set(0), w[n], value)));
    }
  }
}

// Groups' sums of activations times their minima, for a run. quads: of groups. has_wide: sums may have a third part.
template <class Bytes, class Sums, class Quad>
[[gnu::always_inline]] static inline Sums sum_of_minima(const std::uint8_t* minima, std::size_t quads,
                                                        const std::int8_t* sum_codes, bool has_wide) {
  Sums sum = Sums::set(0);
  if (has_wide) {
    sum = dot(sum, Bytes::load(minima), Quad::load(sum_codes + 16));
    if (quads == 2) sum = dot(sum, Bytes::load(minima + 256), Quad::load(sum_codes + 20));
    sum = shift_left<7>(sum);
  }
  sum = dot(sum, Bytes::load(minima), Quad::load(sum_codes + 8));
  if (quads == 2) sum = dot(sum, Bytes::load(minima + 256), Quad::load(sum_codes + 12));
  sum = dot(shift_left<6>(sum), Bytes::load(minima), Quad::load(sum_codes));
  return quads == 2 ? dot(sum, Bytes::load(minima + 256), Quad::load(sum_codes + 4)) : sum;
}

[[gnu::always_inline]] static inline void ask_for_some(ComingLines& coming) {
  const std::size_t count = coming.count < coming.a_step ? coming.count : coming.a_step;
  for (std::size_t i = 0; i < count; ++i) __builtin_prefetch(coming.next + 64 * i, 0, 2);
  coming.next += 64 * count;
  coming.count -= count;
}

// The lines that a tile's results will go to, half of them with the first run of columns and half with the next: all at
// once they would take every place there is for lines on their way.
template <int MR, int NV>
[[gnu::always_inline]] static inline void ask_for_target(const IntegerProduct& p, const float* target,
                                                         bool is_first_run) {
  if (p.target == p.y) return;
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n)
      if ((2 * n < NV) == is_first_run) __builtin_prefetch(target + m * p.target_stride + 16 * n, 1, 3);
}

// Where a tile stands: everything moves on by one group at a time.
struct GroupCursor {
  const std::uint8_t* panel;
  const std::int8_t *x, *block_x, *wide_x;  // block_x, wide_x: where the block begins
  std::uint64_t wide;                       // the block's quads that are wide for one of the tokens
  const std::int32_t* biases;
  const float *sums, *scales, *offsets;
};

template <bool kOffsets>
[[gnu::always_inline]] static inline void next_group(GroupCursor& at) {
  at.scales += 64;
  at.offsets += kOffsets ? 64 : 0;
}

// A group's dot products with codes and wide codes, and its bias. Where nothing of the block is wide there is but the
// question to pay for.
template <class Bytes, class Sums, class Quad, int MR, int NV>
[[gnu::always_inline]] static inline void all_dots(const GroupCursor& at, std::size_t quads, Sums (&sum)[MR][NV]) {
  group_dots<Bytes, Sums, Quad, MR, NV>(at.panel, quads, at.x, kBlockDepth, at.biases, kMaxGroups, sum);
  if (at.wide != 0) [[unlikely]] {
    const std::size_t column = static_cast<std::size_t>(at.x - at.block_x);
    const std::uint64_t wide = at.wide >> (column / 4) & ((std::uint64_t{1} << quads) - 1);  // quads: 32 at most
    add_wide_dots<Bytes, Sums, Quad, MR, NV>(at.panel, wide, at.wide_x + column, kBlockDepth, sum);
  }
}

// One group: its dot products, times its scale, plus its offset, added to what the groups before it gave (kFirst:
// nothing).
template <class F32, class Bytes, class Sums, class Quad, int MR, int NV, bool kOffsets, bool kFirst>
[[gnu::always_inline]] static inline void take_group(GroupCursor& at, std::size_t columns, F32 (&running)[MR][NV]) {
  Sums sum[MR][NV];
  all_dots<Bytes, Sums, Quad, MR, NV>(at, columns / 4, sum);
#pragma GCC unroll 4
  for (int n = 0; n < NV; ++n) {
    const F32 scale = F32::load(at.scales + 16 * n), offset = kOffsets ? F32::load(at.offsets + 16 * n) : scale;
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      running[m][n] = kFirst ? mul(to_f32(sum[m][n]), scale) : fma(to_f32(sum[m][n]), scale, running[m][n]);
      if constexpr (kOffsets) running[m][n] = fma(F32::set(at.sums[m * kMaxGroups]), offset, running[m][n]);
    }
  }
  at.panel += columns * 64;
  at.x += columns;
  ++at.biases;
  ++at.sums;
}

// What a run's sum of multiples stands for: times d, less the minima.
template <class F32, class Bytes, class Sums, class Quad, int MR, int NV>
[[gnu::always_inline]] static inline void scale_multiples_sum(const IntegerProduct& p, std::size_t start,
                                                              std::size_t token, std::size_t column, bool has_wide,
                                                              F32 (&running)[MR][NV]) {
  const std::size_t quads = p.minima_quads, stride = p.x.runs * kSumCodes;
  const std::int8_t* const sum_codes = p.x.sum_codes + token * stride + start / p.run * kSumCodes;
#pragma GCC unroll 4
  for (int n = 0; n < NV; ++n) {
    const F32 super = F32::load(p.grid.super + column + 16 * n);
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) running[m][n] = mul(running[m][n], super);
    if (p.grid.minima == nullptr) continue;
    const F32 minus_super = F32::load(p.grid.super + 64 + column + 16 * n);
    const std::uint8_t* const minima = p.grid.minima + start / kActivationDepth * quads * 256 + column * 4 + 64 * n;
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m)
      running[m][n] = fma(to_f32(sum_of_minima<Bytes, Sums, Quad>(minima, quads, sum_codes + m * stride, has_wide)),
                          minus_super, running[m][n]);
  }
}

// MR tokens from `token` on, NV vectors of rows from `column` on. kGroups: several groups to a run.
template <class F32, class Bytes, class Sums, class Quad, int MR, int NV, bool kOffsets, bool kGroups>
[[gnu::noinline]] static void integer_register_tile(const IntegerProduct& p, std::size_t token, std::size_t column) {
  F32 running[MR][NV];  // results of the current run
  GroupCursor at{p.panel + column * 4,
                 p.x.codes + token * kBlockDepth,
                 p.x.codes + token * kBlockDepth,
                 p.x.wide + token * kBlockDepth,
                 0,
                 p.x.biases + token * kMaxGroups,
                 p.x.sums + token * kMaxGroups,
                 p.grid.scales + column,
                 p.grid.offsets + (kOffsets ? column : 0)};
  for (int m = 0; m < MR; ++m) at.wide |= p.x.wide_quads[token + static_cast<std::size_t>(m)];
  const bool has_wide = at.wide != 0;
  const float* x_scales = p.x.scales + token * p.x.runs;
  bool is_first = p.accumulate == 0;
  float* const target = p.target + token * p.target_stride + column;
  for (std::size_t start = 0; start < p.depth; start += p.run, is_first = false, ++x_scales) {
    std::size_t left = p.depth - start < p.run ? p.depth - start : p.run;
    const std::size_t first = left < p.group ? left : p.group;
    if constexpr (!kGroups) {  // a group of the weights may span several runs
      at.scales = p.grid.scales + column + start / p.group * 64;
      if constexpr (kOffsets) at.offsets = p.grid.offsets + column + start / p.group * 64;
    }
    ask_for_some(*p.coming);
    if (start <= p.run) ask_for_target<MR, NV>(p, target, start == 0);
    take_group<F32, Bytes, Sums, Quad, MR, NV, kOffsets, true>(at, first, running);
    if constexpr (kGroups) {
      next_group<kOffsets>(at);
      for (left -= first; left > 0;) {
        const std::size_t columns = left < p.group ? left : p.group;
        ask_for_some(*p.coming);
        take_group<F32, Bytes, Sums, Quad, MR, NV, kOffsets, false>(at, columns, running);
        next_group<kOffsets>(at);
        left -= columns;
      }
    }
    if (p.grid.super != nullptr)
      scale_multiples_sum<F32, Bytes, Sums, Quad, MR, NV>(p, start, token, column, has_wide, running);
    const bool is_last = start + p.run >= p.depth;
    const float* before = p.y + token * p.y_stride + column;
    float* out = is_last ? target : p.y + token * p.y_stride + column;
    const std::size_t out_stride = is_last ? p.target_stride : p.y_stride;
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m, before += p.y_stride, out += out_stride) {
      const F32 x_scale = F32::set(x_scales[m * p.x.runs]);
#pragma GCC unroll 4
      for (int n = 0; n < NV; ++n)
        fma(running[m][n], x_scale, is_first ? F32::set(0) : F32::load(before + 16 * n)).store(out + 16 * n);
    }
  }
}

// The same where rows and tokens have one scale each: whole rows are summed before anything is scaled.
template <class F32, class Bytes, class Sums, class Quad, int MR, int NV>
[[gnu::noinline]] static void whole_row_tile(const IntegerProduct& p, std::size_t token, std::size_t column) {
  Sums sum[MR][NV];
  float* const y = p.y + token * p.y_stride + column;
  float* const target = p.target + token * p.target_stride + column;
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m) {
    const Sums bias = Sums::set(p.x.biases[(token + m) * kMaxGroups]);
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) sum[m][n] = p.accumulate != 0 ? Sums::load_bits(y + m * p.y_stride + 16 * n) : bias;
  }
  for (std::size_t start = 0; start < p.depth; start += kActivationDepth) {
    const std::size_t columns = p.depth - start < kActivationDepth ? p.depth - start : kActivationDepth;
    ask_for_some(*p.coming);
    ask_for_target<MR, NV>(p, target, start == 0);
    add_dots<Bytes, Sums, Quad, MR, NV>(p.panel + start * 64 + column * 4, 256, columns / 4,
                                        p.x.codes + token * kBlockDepth + start, kBlockDepth, sum);
  }
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m) {
    const F32 shift = F32::set(p.shifts == nullptr ? 0.0f : p.shifts[token + m]),
              x_scale = F32::set(p.x.scales[(token + m) * p.x.runs]);
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) {
      if (!p.is_last) {
        sum[m][n].store_bits(y + m * p.y_stride + 16 * n);
        continue;
      }
      const F32 start = p.shifts == nullptr ? F32::set(0) : mul(shift, F32::load(p.row_sums + column + 16 * n));
      fma(mul(to_f32(sum[m][n]), F32::load(p.grid.scales + column + 16 * n)), x_scale, start)
          .store(target + m * p.target_stride + 16 * n);
    }
  }
}

// The last tokens, fewer than a tile's: with fewer of them a tile is wider, or too few sums would wait for each other.
// take.operator()<MR, NV>(token, column) is one tile.
template <int NV, class Take>
static void last_tokens(const IntegerProduct& p, std::size_t token, Take&& take) {
  constexpr int kWide = NV == 1 ? 1 : 4;
  const auto rows = [&]<int kTokens, int kVectors>() {
    for (std::size_t column = 0; column < 64; column += 16 * kVectors)
      take.template operator()<kTokens, kVectors>(token, column);
  };
  switch (p.tokens - token) {
    case 5:
      return rows.template operator()<5, NV>();
    case 4:
      return rows.template operator()<4, NV>();
    case 3:
      return rows.template operator()<3, kWide>();
    case 2:
      return rows.template operator()<2, kWide>();
    case 1:
      return rows.template operator()<1, kWide>();
    default:
      return;
  }
}

// Strips of NV vectors of rows, each with all tokens, MR at a time.
template <int MR, int NV, class Take>
static void take_tiles(const IntegerProduct& p, Take&& take) {
  static_assert(MR <= 6, "last_tokens knows up to five");
  const std::size_t whole = p.tokens / MR * MR;
  for (std::size_t column = 0; column < 64; column += 16 * NV)
    for (std::size_t t = 0; t < whole; t += MR) take.template operator()<MR, NV>(t, column);
  last_tokens<NV>(p, whole, take);
}

template <class F32, class Bytes, class Sums, class Quad, int MR, int NV, bool kOffsets, bool kGroups>
static void integer_tiles(const IntegerProduct& p) {
  take_tiles<MR, NV>(p, [&]<int kTokens, int kVectors>(std::size_t token, std::size_t column) {
    integer_register_tile<F32, Bytes, Sums, Quad, kTokens, kVectors, kOffsets, kGroups>(p, token, column);
  });
}

// MR x NV: the set's register tile. With several groups to a run their results are held in registers, too, and the tile
// is GR x GV.
template <class F32, class Bytes, class Sums, class Quad, int MR, int NV, int GR, int GV>
static void integer_product(const IntegerProduct& p) {
  if (p.sums_whole_rows)
    return take_tiles<MR, NV>(p, [&]<int kTokens, int kVectors>(std::size_t token, std::size_t column) {
      whole_row_tile<F32, Bytes, Sums, Quad, kTokens, kVectors>(p, token, column);
    });
  if (p.group < p.run) {
    if (p.grid.offsets != nullptr) return integer_tiles<F32, Bytes, Sums, Quad, GR, GV, true, true>(p);
    return integer_tiles<F32, Bytes, Sums, Quad, GR, GV, false, true>(p);
  }
  if (p.grid.offsets != nullptr) return integer_tiles<F32, Bytes, Sums, Quad, MR, NV, true, false>(p);
  return integer_tiles<F32, Bytes, Sums, Quad, MR, NV, false, false>(p);
}

}  // namespace nibble::lanes
