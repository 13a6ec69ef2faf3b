// SPDX-License-Identifier: Apache-2.0
//
// One token times one panel of 64 rows, straight from the resident bytes: what decoding does all day. The same arithmetic as
// integer_product.h, group by group; codes are taken apart in registers while the next block is on its way from memory.
#pragma once

#include "kernels/lanes/integer_grid.h"
#include "kernels/lanes/unpack.h"

namespace nibble::lanes {

// Into the second-level cache, which has more requests in flight than the first and room for a block.
template <std::size_t kLines>
[[gnu::always_inline]] static inline void prefetch_lines(const std::uint8_t* p) {
#pragma GCC unroll 32
  for (std::size_t i = 0; i < kLines; ++i) __builtin_prefetch(p + 64 * i, 0, 2);
}

// The stream of one panel and one token, as a block is walked through.
struct VectorCursor {
  const std::uint8_t *low, *high;
  const std::int8_t* x;
  const std::int32_t* biases;
  const float *sums, *scales, *offsets;
  std::size_t next_block;  // bytes from here to the same place in the following block
};

// A group's dot products of one vector of rows, scaled and added to what the groups before it in this run gave.
template <class F32, class Sums, bool kOffsets>
[[gnu::always_inline]] static inline F32 finish_group(Sums dots, const VectorCursor& at, int v, bool is_first, F32 running) {
  const F32 scale = F32::load(at.scales + 16 * v), value = to_f32(dots);
  F32 result = is_first ? mul(value, scale) : fma(value, scale, running);
  if constexpr (kOffsets) result = fma(F32::set(*at.sums), F32::load(at.offsets + 16 * v), result);
  return result;
}

[[gnu::always_inline]] static inline void next_group(VectorCursor& at) {
  at.scales += 64;
  at.offsets += at.offsets != nullptr ? 64 : 0;
  ++at.biases;
  ++at.sums;
}

// Dot products of 32 columns, added to sum[h][v]: h is 0, or with kHalves the half of 16 columns. Lines are read in the order in which they
// lie in memory.
template <class Bytes, class Sums, class Quad, int kLow, int kHigh, bool kTable, bool kHalves>
[[gnu::always_inline]] static inline void octet_dots(VectorCursor& at, Bytes table, Sums (&sum)[2][4]) {
  constexpr int kQuads = whole_lines(kLow, kHigh);
#pragma GCC unroll 8
  for (int q = 0; q < 8; q += kQuads) {
    Quad quads[kQuads];
#pragma GCC unroll 8
    for (int i = 0; i < kQuads; ++i) quads[i] = Quad::load(at.x + 4 * (q + i));
    const std::uint8_t *low = at.low + octet_bytes(kLow) / 8 * static_cast<std::size_t>(q),
                       *high = at.high + octet_bytes(kHigh) / 8 * static_cast<std::size_t>(q);
    prefetch_lines<kQuads * kLow / 2>(low + at.next_block);
    if constexpr (kHigh != 0) prefetch_lines<kQuads * kHigh / 2>(high + at.next_block);
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      Bytes w[kQuads];
      operands_of_quads<kLow, kHigh, kTable, kQuads>(low + 64 * v, high + 64 * v, table, w);
#pragma GCC unroll 8
      for (int i = 0; i < kQuads; ++i) sum[kHalves ? (q + i) / 4 : 0][v] = dot(sum[kHalves ? (q + i) / 4 : 0][v], w[i], quads[i]);
    }
  }
  at.x += 32;
  at.low += octet_bytes(kLow);
  at.high += octet_bytes(kHigh);
}

// Columns that share an activation scale: at most 128, a multiple of 32.
template <class F32, class Bytes, class Sums, class Quad, int kLow, int kHigh, bool kTable, bool kOffsets>
[[gnu::always_inline]] static inline void take_run(VectorCursor& at, Bytes table, std::size_t columns, std::size_t group, float x_scale,
                                                   F32 (&total)[4]) {
  F32 running[4] = {total[0], total[1], total[2], total[3]};  // overwritten by the first group
  Sums sum[2][4];
  const auto finish = [&](const Sums(&dots)[4], bool is_first) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) running[v] = finish_group<F32, Sums, kOffsets>(dots[v], at, v, is_first, running[v]);
    next_group(at);
  };
  if (group == 16) {
    for (std::size_t k = 0; k < columns; k += 32) {
      sum[0][0] = sum[0][1] = sum[0][2] = sum[0][3] = Sums::set(at.biases[0]);
      sum[1][0] = sum[1][1] = sum[1][2] = sum[1][3] = Sums::set(at.biases[1]);
      octet_dots<Bytes, Sums, Quad, kLow, kHigh, kTable, true>(at, table, sum);
      finish(sum[0], k == 0);
      finish(sum[1], false);
    }
  } else {
    for (std::size_t k = 0; k < columns; k += group) {
      sum[0][0] = sum[0][1] = sum[0][2] = sum[0][3] = Sums::set(*at.biases);
      for (std::size_t j = k; j < columns && j < k + group; j += 32) octet_dots<Bytes, Sums, Quad, kLow, kHigh, kTable, false>(at, table, sum);
      finish(sum[0], k == 0);
    }
  }
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) total[v] = fma(running[v], F32::set(x_scale), total[v]);
}

template <class F32, class Bytes, class Sums, class Quad, int kLow, int kHigh, bool kTable, bool kOffsets>
[[gnu::noinline]] static void vector_panel(const IntegerShape& shape, const std::uint8_t* panel, const float* row_scales, std::size_t columns,
                                           const QuantizedActivations& x, float* y) {
  alignas(64) float scales[kMaxGroups * 64], offsets[kMaxGroups * 64];
  const Bytes table = Bytes::table(shape.points);
  const std::size_t group = kernel_group(shape);
  F32 total[4] = {F32::set(0), F32::set(0), F32::set(0), F32::set(0)};
  for (std::size_t start = 0, b = 0; start < columns; start += kBlockDepth, ++b) {
    const std::size_t depth = columns - start < kBlockDepth ? columns - start : kBlockDepth, bytes = block_bytes(shape, depth);
    for (std::size_t i = code_bytes(shape, depth); i < bytes; i += 64) __builtin_prefetch(panel + bytes + i, 0, 2);
    expand_grid<F32>(shape, panel, row_scales, depth, scales, offsets);
    VectorCursor at{panel,
                    panel + low_plane_bytes(shape, depth),
                    x.codes + b * kBlockDepth,
                    x.biases + b * kMaxGroups,
                    x.sums + b * kMaxGroups,
                    scales,
                    kOffsets ? offsets : nullptr,
                    bytes};
    for (std::size_t k = 0; k < depth; k += kActivationDepth)
      take_run<F32, Bytes, Sums, Quad, kLow, kHigh, kTable, kOffsets>(at, table, depth - k < kActivationDepth ? depth - k : kActivationDepth, group,
                                                                      x.scales[b * 2 + k / kActivationDepth], total);
    panel += bytes;
  }
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) total[v].store(y + 16 * v);
}

// The shapes of integer_form.cpp.
template <class F32, class Bytes, class Sums, class Quad, bool kOffsets>
static void vector_of_shape(const IntegerShape& shape, const std::uint8_t* panel, const float* row_scales, std::size_t columns,
                            const QuantizedActivations& x, float* y) {
  const auto run = [&](auto kernel) { kernel(shape, panel, row_scales, columns, x, y); };
  switch (shape.low_bits * 10 + shape.high_bits) {
    case 80:
      return run(vector_panel<F32, Bytes, Sums, Quad, 8, 0, false, kOffsets>);
    case 40:
      return run(shape.has_table ? vector_panel<F32, Bytes, Sums, Quad, 4, 0, true, kOffsets>
                                 : vector_panel<F32, Bytes, Sums, Quad, 4, 0, false, kOffsets>);
    case 42:
      return run(vector_panel<F32, Bytes, Sums, Quad, 4, 2, false, kOffsets>);
    case 41:
      return run(vector_panel<F32, Bytes, Sums, Quad, 4, 1, false, kOffsets>);
    case 21:
      return run(vector_panel<F32, Bytes, Sums, Quad, 2, 1, false, kOffsets>);
    case 20:
      return run(vector_panel<F32, Bytes, Sums, Quad, 2, 0, false, kOffsets>);
    case 10:
      return run(vector_panel<F32, Bytes, Sums, Quad, 1, 0, false, kOffsets>);
    default:
      return;
  }
}

template <class F32, class Bytes, class Sums, class Quad>
static void integer_vector(const IntegerShape& shape, const std::uint8_t* panel, const float* row_scales, std::size_t columns,
                           const QuantizedActivations& x, float* y) {
  if (shape.offset == OffsetKind::none)
    vector_of_shape<F32, Bytes, Sums, Quad, false>(shape, panel, row_scales, columns, x, y);
  else
    vector_of_shape<F32, Bytes, Sums, Quad, true>(shape, panel, row_scales, columns, x, y);
}

}  // namespace nibble::lanes
