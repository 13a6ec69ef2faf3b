// SPDX-License-Identifier: Apache-2.0
//
// Attention to a chunk of quantized keys and values (coded_chunk.h), without widening them: integer products straight
// from the codes.
#pragma once

#include "kernels/attention/coded_chunk.h"
#include "kernels/lanes/activations.h"
#include "kernels/lanes/exponential.h"
#include "kernels/lanes/integer_product.h"
#include "kernels/lanes/unpack.h"
#include "kernels/lanes/vector_loops.h"

namespace nibble::lanes {

inline constexpr float kLargestWeight = 65280.0f;  // 255 * 256; in 16 bits whatever rounding adds

// Stored keys of 8 bits as a set's dot products take them: sets whose operands are signed bytes say how.
template <class Bytes, class Quad>
struct StoredKeys {
  using Type = Bytes;
  static constexpr std::int32_t kLess = 0;
};
template <class Bytes, class Quad>
  requires requires { typename Quad::StoredKeys; }
struct StoredKeys<Bytes, Quad> {
  using Type = typename Quad::StoredKeys;
  static constexpr std::int32_t kLess = 128;
};

// One head of one token. offset: of the stored keys.
template <class F32, std::int32_t kLess>
static void quantize_query(const float* x, std::size_t count, float factor, std::int32_t offset, std::int8_t* codes,
                           float* scales, std::int32_t* biases) {
  const F32 shift = F32::set(kRoundingShift);
  const std::int32_t middle = offset < 128 ? offset : offset - kLess;
  for (std::size_t start = 0, g = 0; start < count; start += kKvGroup, ++g) {
    const std::size_t n = count - start < kKvGroup ? count - start : kKvGroup;
    const F32 low = n >= 16 ? F32::load(x + start) : F32::load_part(x + start, n);
    const F32 high = n == kKvGroup ? F32::load(x + start + 16)
                     : n > 16      ? F32::load_part(x + start + 16, n - 16)
                                   : F32::set(0);
    const float top = max_lanes(max(absolute(low), absolute(high)));
    const bool nothing = !(top > 1e-35f);  // smaller would overflow the inverse
    scales[g] = nothing ? 0.0f : top / 127.0f * factor;
    const F32 inverse = F32::set(nothing ? 0.0f : 127.0f / top);
    const float sum = store_codes(add(mul(low, inverse), shift), shift, codes + start) +
                      store_codes(add(mul(high, inverse), shift), shift, codes + start + 16);
    biases[g] = -middle * static_cast<std::int32_t>(sum);
  }
}

// MR rows times 16 * NV positions.
template <class F32, class Bytes, class Sums, class Quad, int MR, int NV>
[[gnu::noinline]] static void score_tile(const std::uint8_t* keys, std::size_t depth, const CodedRows& rows,
                                         std::size_t row, std::size_t position) {
  const std::size_t groups = depth / kKvGroup;
  F32 running[MR][NV];
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) running[m][n] = F32::set(0);
  for (std::size_t g = 0; g < groups; ++g) {
    const std::size_t at = row * groups + g;
    Sums sum[MR][NV];
    group_dots<Bytes, Sums, Quad, MR, NV>(keys + g * kKvGroup * kKvChunk + position * 4, kKvGroup / 4,
                                          rows.codes + row * depth + g * kKvGroup, depth, rows.biases + at, groups,
                                          sum);
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) {
      const F32 key_scale = F32::load(rows.grids + g * kKvChunk + position + 16 * n);
#pragma GCC unroll 8
      for (int m = 0; m < MR; ++m)
        running[m][n] = fma(mul(to_f32(sum[m][n]), key_scale), F32::set(rows.scales[at + m * groups]), running[m][n]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 4
    for (int n = 0; n < NV; ++n) running[m][n].store(rows.scores + (row + m) * kKvChunk + position + 16 * n);
}

// MR rows times the 32 dimensions of a group.
template <class F32, class Bytes, class Sums, class UnsignedQuad, int MR>
[[gnu::noinline]] static void value_tile(const std::uint8_t* values, std::size_t depth, const CodedRows& rows,
                                         std::size_t row, std::size_t group) {
  const std::size_t groups = depth / kKvGroup, stride = groups * 2 * kKvChunk;
  const std::uint8_t* const panel = values + group * kKvGroup * 4;
  const std::uint8_t* const weights = rows.weights + (row * groups + group) * 2 * kKvChunk;
  Sums sum[MR][2];
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m) sum[m][0] = sum[m][1] = Sums::set(0);
  add_dots<Bytes, Sums, UnsignedQuad, MR, 2>(panel, 4 * depth, kKvChunk / 4, weights, stride, sum);
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m) {
    sum[m][0] = shift_left<8>(sum[m][0]);
    sum[m][1] = shift_left<8>(sum[m][1]);
  }
  add_dots<Bytes, Sums, UnsignedQuad, MR, 2>(panel, 4 * depth, kKvChunk / 4, weights + kKvChunk, stride, sum);
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m) {
    const F32 factor = F32::set(rows.factor[row + m]), kept = F32::set(rows.kept[row + m]);
    float* const out = rows.result + (row + m) * depth + group * kKvGroup;
    fma(to_f32(sum[m][0]), factor, mul(F32::load(out), kept)).store(out);
    fma(to_f32(sum[m][1]), factor, mul(F32::load(out + 16), kept)).store(out + 16);
  }
}

template <class F32, class Bytes, class Sums, class Quad, int MR, int NV>
static void score_rows(const std::uint8_t* keys, std::size_t depth, const CodedRows& rows, std::size_t& row,
                       std::size_t end) {
  for (; row + MR <= end; row += MR)
    for (std::size_t position = 0; position < kKvChunk; position += 16 * NV)
      score_tile<F32, Bytes, Sums, Quad, MR, NV>(keys, depth, rows, row, position);
}

template <class F32, class Bytes, class Sums, class UnsignedQuad, int MR>
static void value_rows(const std::uint8_t* values, std::size_t depth, const CodedRows& rows, std::size_t& row,
                       std::size_t end) {
  for (; row + MR <= end; row += MR)
    for (std::size_t g = 0; g < depth / kKvGroup; ++g)
      value_tile<F32, Bytes, Sums, UnsignedQuad, MR>(values, depth, rows, row, g);
}

// The scales as f32 (of values their magnitudes), and of each position's values the largest.
template <class F32>
static void widen_scales(const CodedChunk& chunk, float* grids) {
  const std::size_t groups = chunk.depth / kKvGroup;
  for (std::size_t j = 0; j < kKvChunk; j += 16) {
    F32 largest = F32::set(0);
    for (std::size_t g = 0; g < groups; ++g) {
      F32::load_f16(chunk.key_scales + g * kKvChunk + j).store(grids + g * kKvChunk + j);
      const F32 value_scale = absolute(F32::load_f16(chunk.value_scales + g * kKvChunk + j));
      value_scale.store(grids + (groups + g) * kKvChunk + j);
      largest = max(largest, value_scale);
    }
    largest.store(grids + 2 * groups * kKvChunk + j);
  }
}

// 4-bit values as signed bytes, with the signs of their scales.
template <class Bytes>
static void unpack_values(const CodedChunk& chunk, std::uint8_t* out) {
  const std::size_t groups = chunk.depth / kKvGroup;
  std::uint8_t codes[32];
  alignas(64)
      std::uint32_t negative[16];  // bytes of ones for positions whose scale is negative, the same for 16 dimensions
  for (std::size_t i = 0; i < 16; ++i) {
    codes[i] = static_cast<std::uint8_t>(i - 8);
    codes[16 + i] = static_cast<std::uint8_t>(8 - i);
  }
  const Bytes plus = Bytes::table(codes), minus = Bytes::table(codes + 16);
  const std::uint8_t* line = chunk.values;
  for (std::size_t j = 0; j < kKvChunk; j += 4)
    for (std::size_t g = 0; g < groups; ++g, line += 64, out += 128) {
      std::uint32_t signs = 0;
      for (std::size_t i = 0; i < 4; ++i) signs |= (chunk.value_scales[g * kKvChunk + j + i] >> 15) * 0xffu << 8 * i;
      for (std::uint32_t& lane : negative) lane = signs;
      Bytes halves[2];
      plane_quads<4, 0, 2>(line, halves);
      const Bytes mask = Bytes::load(reinterpret_cast<const std::uint8_t*>(negative));
      select(mask, look_up(minus, halves[0]), look_up(plus, halves[0])).store(out);
      select(mask, look_up(minus, halves[1]), look_up(plus, halves[1])).store(out + 64);
    }
}

// The largest score of each row's positions.
template <class F32>
static void find_tops(const CodedRows& rows, std::size_t count, const SeenPositions& seen) {
  const F32 lowest = F32::set(-__FLT_MAX__);
  for (std::size_t r = 0; r < count; ++r) {
    F32 t[kChunkVectors];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kChunkVectors; ++i) t[i] = F32::load(rows.scores + r * kKvChunk + 16 * i);
    mask(t, seen.begin(r), seen.end(r), lowest);
    rows.here[r] = max_lanes(max(max(t[0], t[1]), max(t[2], t[3])));
  }
}

// Rows behind the last one that share its vector see nothing of the chunk.
[[maybe_unused]] static void fill_rest(float* x, std::size_t count, float value) {
  for (; count % 16 != 0; ++count) x[count] = value;
}

// From the chunks before to this one: tops, and the powers of two that belong to them.
template <class F32>
static void raise_tops(const CodedRows& rows, std::size_t count) {
  for (std::size_t r = 0; r < count; r += 16) {
    const F32 before = F32::load(rows.top + r), here = F32::load(rows.here + r), top = max(before, here);
    top.store(rows.top + r);
    power_of_two(sub(before, top)).store(rows.kept + r);
    power_of_two(sub(here, top)).store(rows.factor + r);
  }
}

// Scores become powers of two; their sum and the largest one times its values' scale are kept for each row.
template <class F32>
static void exponentiate(const CodedRows& rows, std::size_t count, const float* scales, const SeenPositions& seen) {
  const F32 largest[kChunkVectors] = {F32::load(scales), F32::load(scales + 16), F32::load(scales + 32),
                                      F32::load(scales + 48)};
  for (std::size_t r = 0; r < count; ++r) {
    float* const scores = rows.scores + r * kKvChunk;
    const F32 here = F32::set(rows.here[r]);
    F32 p[kChunkVectors], bound[kChunkVectors];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kChunkVectors; ++i) p[i] = power_of_two(sub(F32::load(scores + 16 * i), here));
    mask(p, seen.begin(r), seen.end(r), F32::set(0));
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kChunkVectors; ++i) {
      p[i].store(scores + 16 * i);
      bound[i] = mul(p[i], largest[i]);
    }
    rows.added[r] = sum_lanes(add(add(p[0], p[1]), add(p[2], p[3])));
    rows.bound[r] = max_lanes(max(max(bound[0], bound[1]), max(bound[2], bound[3])));
  }
}

// Sums, what the integers are multiplied with (in `factor`), and its inverse (in `bound`).
template <class F32>
static void set_factors(const CodedRows& rows, std::size_t count) {
  const F32 most = F32::set(kLargestWeight), least = F32::set(1e-30f);  // smaller bounds would overflow the inverse
  for (std::size_t r = 0; r < count; r += 16) {
    const F32 weight = F32::load(rows.factor + r), bound = F32::load(rows.bound + r);
    fma(F32::load(rows.added + r), weight, mul(F32::load(rows.sum + r), F32::load(rows.kept + r))).store(rows.sum + r);
    mul(div(bound, most), weight).store(rows.factor + r);
    keep_where_at_least(div(most, max(bound, least)), bound, least).store(rows.bound + r);
  }
}

// Powers of two become weights: 16-bit integers in two planes.
template <class F32>
static void store_weights(const CodedRows& rows, std::size_t count, const float* scales, std::size_t groups) {
  const F32 shift = F32::set(kRoundingShift);
  for (std::size_t r = 0; r < count; ++r) {
    const F32 inverse = F32::set(rows.bound[r]);
    F32 p[kChunkVectors];
#pragma GCC unroll 4
    for (std::size_t i = 0; i < kChunkVectors; ++i) p[i] = mul(F32::load(rows.scores + r * kKvChunk + 16 * i), inverse);
    std::uint8_t* out = rows.weights + r * groups * 2 * kKvChunk;
    for (std::size_t g = 0; g < groups; ++g, out += 2 * kKvChunk)
#pragma GCC unroll 4
      for (std::size_t i = 0; i < kChunkVectors; ++i) {
        const F32 shifted = add(mul(p[i], F32::load(scales + g * kKvChunk + 16 * i)), shift);
        store_second_bytes(shifted, out + 16 * i);
        store_low_bytes(shifted, reinterpret_cast<std::int8_t*>(out) + kKvChunk + 16 * i);
      }
  }
}

// Into the second cache: the nearest one has few places for misses, and the products need them.
[[maybe_unused]] static void fetch(const std::byte* p, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += 64) __builtin_prefetch(p + i, 0, 2);
}

template <class F32, class Bytes, class Sums, class Quad, int MR, int NV>
static void score_all_rows(const std::uint8_t* keys, std::size_t depth, const CodedRows& rows, std::size_t count) {
  std::size_t r = 0;
  score_rows<F32, Bytes, Sums, Quad, MR, NV>(keys, depth, rows, r, count);
  if constexpr (MR > 4) score_rows<F32, Bytes, Sums, Quad, 4, NV>(keys, depth, rows, r, count);
  if constexpr (MR > 2) score_rows<F32, Bytes, Sums, Quad, 2, NV>(keys, depth, rows, r, count);
  score_rows<F32, Bytes, Sums, Quad, 1, NV>(keys, depth, rows, r, count);
}

// NV vectors of positions and MR rows to a tile.
template <class F32, class Bytes, class Sums, class Quad, class UnsignedQuad, int MR, int NV>
static void attend_to_codes(const CodedChunk& chunk, const CodedRows& rows, std::size_t count,
                            const SeenPositions& seen, const ScoreCap& cap) {
  const std::size_t depth = chunk.depth, groups = depth / kKvGroup;
  const std::uint8_t *keys = chunk.keys, *values = chunk.values;
  if (chunk.bits == 4) {
    unpack_nibbles<Bytes>(keys, depth * kKvChunk / 2, kLineStride, rows.panels);
    unpack_values<Bytes>(chunk, rows.panels + depth * kKvChunk);
    keys = rows.panels;
    values = rows.panels + depth * kKvChunk;
  }
  fetch(chunk.next, chunk.next_bytes / 2);
  widen_scales<F32>(chunk, rows.grids);
  const float* const value_scales = rows.grids + groups * kKvChunk;
  using Stored = StoredKeys<Bytes, Quad>;
  if constexpr (Stored::kLess != 0) {
    if (chunk.bits == 8)
      score_all_rows<F32, typename Stored::Type, Sums, Quad, MR, NV>(keys, depth, rows, count);
    else
      score_all_rows<F32, Bytes, Sums, Quad, MR, NV>(keys, depth, rows, count);
  } else {
    score_all_rows<F32, Bytes, Sums, Quad, MR, NV>(keys, depth, rows, count);
  }

  if (cap.outer != 0) soft_cap<F32>(rows.scores, count * kKvChunk, cap.inner, cap.outer);
  find_tops<F32>(rows, count, seen);
  fill_rest(rows.here, count, -__FLT_MAX__);
  raise_tops<F32>(rows, count);
  exponentiate<F32>(rows, count, rows.grids + 2 * groups * kKvChunk, seen);
  fill_rest(rows.added, count, 0);
  fill_rest(rows.bound, count, 0);
  set_factors<F32>(rows, count);
  fetch(chunk.next + chunk.next_bytes / 2, chunk.next_bytes - chunk.next_bytes / 2);
  store_weights<F32>(rows, count, value_scales, groups);

  std::size_t r = 0;
  value_rows<F32, Bytes, Sums, UnsignedQuad, MR>(values, depth, rows, r, count);
  if constexpr (MR > 4) value_rows<F32, Bytes, Sums, UnsignedQuad, 4>(values, depth, rows, r, count);
  if constexpr (MR > 2) value_rows<F32, Bytes, Sums, UnsignedQuad, 2>(values, depth, rows, r, count);
  value_rows<F32, Bytes, Sums, UnsignedQuad, 1>(values, depth, rows, r, count);
}

}  // namespace nibble::lanes
