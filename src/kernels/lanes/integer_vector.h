// SPDX-License-Identifier: Apache-2.0
//
// One token times one panel of 64 rows, straight from the resident bytes: what decoding does all day. The same
// arithmetic as integer_product.h, group by group; codes are taken apart in registers while the next block is on its
// way from memory.
#pragma once

#include "kernels/lanes/integer_grid.h"
#include "kernels/lanes/integer_product.h"
#include "kernels/lanes/unpack.h"

namespace nibble::lanes {

// Reads every line once, in order, into the nearest cache: what comes before the low plane, and is then read here and
// there. These are loads, for the processor's own prefetches, which see one ascending stream; where those do too
// little, ReadAhead has asked for the lines before.
template <class Bytes>
[[gnu::always_inline]] static inline void read_in_order(const std::uint8_t* p, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += 64) touch(Bytes::load(p + i));
}

// Asks the second-level cache for lines that will be read `distance` bytes later: for processors that fetch ahead too
// little by themselves. Each octet of columns has its share of a block's lines, which are asked for one by one between
// the loads: all at once they would hold up those. Nothing where distance is 0.
class ReadAhead {
 public:
  ReadAhead(const std::uint8_t* block, std::size_t bytes, std::size_t octets, std::size_t distance)
      : at_(block + distance), end_(at_), share_(distance == 0 ? 0 : (bytes / octets + 63) / 64 * 64) {}
  void next_octet() { end_ += share_; }
  template <int kLines>
  void ask() {
#pragma GCC unroll 4
    for (int i = 0; i < kLines; ++i) {
      if (at_ == end_) return;
      __builtin_prefetch(at_, 0, 2);
      at_ += 64;
    }
  }

 private:
  const std::uint8_t *at_, *end_;
  std::size_t share_;
};

// Where a kernel takes its scales from, without a detour over memory for the usual kinds.
enum class GridSource {
  expanded,          // expand_grid
  expanded_offsets,  // the same, with offsets
  halves,            // f16 for every group
  row,               // one for the whole row, and tokens with one scale: everything is summed before
  multiples,         // signed multiples of d
  minima             // unsigned multiples of d and of dmin
};

// The stream of one panel and one token, as a block is walked through.
struct VectorCursor {
  const std::uint8_t *low, *high;
  const std::int8_t *x, *block_x, *wide_x;  // block_x, wide_x: where the block begins
  std::uint64_t wide;                       // the block's quads that have a wide column
  const std::int32_t* biases;
  const float* sums;
  const std::uint8_t* scales;  // of the group: [64] f32 or f16; of 128 columns: [quads of groups][64 rows][4]
  const float* offsets;
  ReadAhead ahead;
};

template <class F32, GridSource kGrid>
[[gnu::always_inline]] static inline F32 group_scale(const VectorCursor& at, int v) {
  if constexpr (kGrid == GridSource::halves)
    return F32::load_f16(reinterpret_cast<const std::uint16_t*>(at.scales) + 16 * v);
  return F32::load(reinterpret_cast<const float*>(at.scales) + 16 * v);
}

// A group's dot products of four vectors of rows, scaled and added to what the groups before it in this run gave.
template <class F32, class Sums, GridSource kGrid>
[[gnu::always_inline]] static inline void finish_group(const Sums (&dots)[4], VectorCursor& at, bool is_first,
                                                       F32 (&running)[4]) {
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    const F32 scale = group_scale<F32, kGrid>(at, v), value = to_f32(dots[v]);
    running[v] = is_first ? mul(value, scale) : fma(value, scale, running[v]);
    if constexpr (kGrid == GridSource::expanded_offsets)
      running[v] = fma(F32::set(*at.sums), F32::load(at.offsets + 16 * v), running[v]);
  }
  ++at.biases;
  ++at.sums;
}

// Dot products of 32 columns, added to sum[h][v]: h is 0, or with kHalves the half of 16 columns. Lines are read in the
// order in which they lie in memory. kSome: only what `quads_of_x` has bits for is looked at, the rest of x being
// zeros.
template <class Bytes, class Sums, class Quad, int kLow, int kHigh, bool kTable, bool kHalves, bool kSome = false>
[[gnu::always_inline]] static inline void octet_dots(VectorCursor& at, Bytes table, Sums (&sum)[2][4],
                                                     std::uint64_t quads_of_x = 0) {
  constexpr int kQuads = whole_lines(kLow, kHigh);
  constexpr int kLines = (kQuads * (kLow + kHigh) + 7) / 8 + 1;  // of one vector of rows, and its part of the grid
  at.ahead.next_octet();
#pragma GCC unroll 8
  for (int q = 0; q < 8; q += kQuads) {
    if constexpr (kSome)
      if ((quads_of_x >> q & ((1u << kQuads) - 1)) == 0) continue;
    Quad quads[kQuads];
#pragma GCC unroll 8
    for (int i = 0; i < kQuads; ++i) quads[i] = Quad::load(at.x + 4 * (q + i));
    const std::uint8_t *low = at.low + octet_bytes(kLow) / 8 * static_cast<std::size_t>(q),
                       *high = at.high + octet_bytes(kHigh) / 8 * static_cast<std::size_t>(q);
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      at.ahead.template ask<kLines>();
      Bytes w[kQuads];
      operands_of_quads<kLow, kHigh, kTable, kQuads>(low + 64 * v, high + 64 * v, table, w);
#pragma GCC unroll 8
      for (int i = 0; i < kQuads; ++i)
        sum[kHalves ? (q + i) / 4 : 0][v] = dot(sum[kHalves ? (q + i) / 4 : 0][v], w[i], quads[i]);
    }
  }
  at.x += 32;
  at.low += octet_bytes(kLow);
  at.high += octet_bytes(kHigh);
}

// The products of 32 columns' wide codes, [half][vector][16]: another look at the same codes, where there are some.
template <class Bytes, class Sums, class Quad, int kLow, int kHigh, bool kTable, bool kHalves>
[[gnu::noinline]] static void find_wide_dots(const std::uint8_t* low, const std::uint8_t* high, const std::int8_t* x,
                                             std::uint64_t quads, const std::uint8_t* points, float* bits) {
  VectorCursor at{low, high, x, nullptr, nullptr, 0, nullptr, nullptr, nullptr, nullptr, ReadAhead(low, 0, 1, 0)};
  Sums sum[2][4];
#pragma GCC unroll 2
  for (int h = 0; h < 2; ++h) sum[h][0] = sum[h][1] = sum[h][2] = sum[h][3] = Sums::set(0);
  octet_dots<Bytes, Sums, Quad, kLow, kHigh, kTable, kHalves, true>(at, Bytes::table(points), sum, quads);
#pragma GCC unroll 2
  for (int h = 0; h < (kHalves ? 2 : 1); ++h)
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) shift_left<kWideShift>(sum[h][v]).store_bits(bits + 64 * h + 16 * v);
}

// octet_dots with codes and wide codes.
template <class Bytes, class Sums, class Quad, int kLow, int kHigh, bool kTable, bool kHalves>
[[gnu::always_inline]] static inline void all_octet_dots(VectorCursor& at, Bytes table, const IntegerShape& shape,
                                                         Sums (&sum)[2][4]) {
  if (at.wide != 0) [[unlikely]] {
    const std::size_t column = static_cast<std::size_t>(at.x - at.block_x);
    const std::uint64_t wide = at.wide >> (column / 4) & 255;
    if (wide != 0) {
      alignas(64) float bits[128];
      find_wide_dots<Bytes, Sums, Quad, kLow, kHigh, kTable, kHalves>(at.low, at.high, at.wide_x + column, wide,
                                                                      shape.points, bits);
#pragma GCC unroll 2
      for (int h = 0; h < (kHalves ? 2 : 1); ++h)
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) sum[h][v] = add(sum[h][v], Sums::load_bits(bits + 64 * h + 16 * v));
    }
  }
  octet_dots<Bytes, Sums, Quad, kLow, kHigh, kTable, kHalves>(at, table, sum);
}

// A run: columns that share an activation scale, a multiple of 32 of them. column: of the block, where it begins.
// scales, offsets: of the block.
template <class F32, class Bytes, class Sums, class Quad, int kLow, int kHigh, bool kTable, GridSource kGrid>
[[gnu::always_inline]] static inline void take_run(VectorCursor& at, Bytes table, const IntegerShape& shape,
                                                   const std::uint8_t* scales, const float* offsets, std::size_t column,
                                                   std::size_t columns, F32 (&running)[4]) {
  Sums sum[2][4];
  const std::size_t group = kernel_group(shape);
  const auto locate = [&](std::size_t k) __attribute__((always_inline)) {
    at.scales =
        kGrid == GridSource::halves ? scales + (column + k) / shape.group * 128 : scales + (column + k) / group * 256;
    if constexpr (kGrid == GridSource::expanded_offsets) at.offsets = offsets + (column + k) / group * 64;
  };
  if (group == 16) {
    for (std::size_t k = 0; k < columns; k += 32) {
      sum[0][0] = sum[0][1] = sum[0][2] = sum[0][3] = Sums::set(at.biases[0]);
      sum[1][0] = sum[1][1] = sum[1][2] = sum[1][3] = Sums::set(at.biases[1]);
      all_octet_dots<Bytes, Sums, Quad, kLow, kHigh, kTable, true>(at, table, shape, sum);
      locate(k);
      finish_group<F32, Sums, kGrid>(sum[0], at, k == 0, running);
      locate(k + 16);
      finish_group<F32, Sums, kGrid>(sum[1], at, false, running);
    }
  } else {
    for (std::size_t k = 0; k < columns; k += group) {
      sum[0][0] = sum[0][1] = sum[0][2] = sum[0][3] = Sums::set(*at.biases);
      for (std::size_t j = k; j < columns && j < k + group; j += 32)
        all_octet_dots<Bytes, Sums, Quad, kLow, kHigh, kTable, false>(at, table, shape, sum);
      locate(k);
      finish_group<F32, Sums, kGrid>(sum[0], at, k == 0, running);
    }
  }
}

// Group kIndex of 128 columns: its multiples are byte kIndex % 4 of the rows' dwords in one line. is_first: of its run.
template <int kIndex, class F32, class Bytes, class Sums, bool kSigned>
[[gnu::always_inline]] static inline void finish_multiples(const Sums (&dots)[4], const VectorCursor& at, bool is_first,
                                                           F32 (&running)[4]) {
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    const F32 scale = byte_to_f32<kIndex % 4, kSigned>(Bytes::load(at.scales + kIndex / 4 * 256 + 64 * v)),
              value = to_f32(dots[v]);
    running[v] = is_first ? mul(value, scale) : fma(value, scale, running[v]);
  }
}

// 32 columns: one group, or two.
template <int kOctet, class F32, class Bytes, class Sums, class Quad, int kLow, int kHigh, bool kTable, int kGroup,
          bool kSigned>
[[gnu::always_inline]] static inline void take_octet(VectorCursor& at, Bytes table, const IntegerShape& shape,
                                                     bool is_first, F32 (&running)[4]) {
  Sums sum[2][4];
  sum[0][0] = sum[0][1] = sum[0][2] = sum[0][3] = Sums::set(at.biases[0]);
  if constexpr (kGroup == 16) sum[1][0] = sum[1][1] = sum[1][2] = sum[1][3] = Sums::set(at.biases[1]);
  all_octet_dots<Bytes, Sums, Quad, kLow, kHigh, kTable, kGroup == 16>(at, table, shape, sum);
  finish_multiples<kOctet * 32 / kGroup, F32, Bytes, Sums, kSigned>(sum[0], at, is_first, running);
  if constexpr (kGroup == 16) finish_multiples<kOctet * 2 + 1, F32, Bytes, Sums, kSigned>(sum[1], at, false, running);
  at.biases += 32 / kGroup;
}

// One panel whose rows, and whose token, have one scale each.
template <class F32, class Bytes, class Sums, class Quad, int kLow, int kHigh, bool kTable>
[[gnu::always_inline]] static inline void sum_whole_rows(const IntegerShape& shape, const std::uint8_t* panel,
                                                         const float* row_scales, std::size_t columns,
                                                         const QuantizedActivations& x, std::size_t read_ahead,
                                                         float* y, int accumulate) {
  const Bytes table = Bytes::table(shape.points);
  Sums sum[2][4];
  sum[0][0] = sum[0][1] = sum[0][2] = sum[0][3] = Sums::set(*x.biases);
  for (std::size_t start = 0, b = 0; start < columns; start += kBlockDepth, ++b) {
    const std::size_t depth = columns - start < kBlockDepth ? columns - start : kBlockDepth,
                      size = block_bytes(shape, depth);
    read_in_order<Bytes>(panel, low_plane_offset(shape, depth));
    VectorCursor at{panel + low_plane_offset(shape, depth),
                    panel + codes_offset(shape, depth),
                    x.codes + b * kBlockDepth,
                    nullptr,
                    nullptr,
                    0,
                    nullptr,
                    nullptr,
                    nullptr,
                    nullptr,
                    ReadAhead(panel, size, depth / 32, read_ahead)};
    for (std::size_t k = 0; k < depth; k += 32)
      octet_dots<Bytes, Sums, Quad, kLow, kHigh, kTable, false>(at, table, sum);
    panel += size;
  }
  const F32 x_scale = F32::set(*x.scales), factor = F32::set(shape.factor);
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    const F32 start = accumulate != 0 ? F32::load(y + 16 * v) : F32::set(0);
    fma(mul(to_f32(sum[0][v]), mul(F32::load(row_scales + 16 * v), factor)), x_scale, start).store(y + 16 * v);
  }
}

// A run's sum, times what multiples are counted in and less the minima.
template <class F32, class Bytes, class Sums, class Quad, GridSource kGrid>
[[gnu::always_inline]] static inline void scale_run_of_multiples(const IntegerShape& shape, const std::uint8_t* panel,
                                                                 const float* row_scales, const std::uint8_t* minima,
                                                                 std::size_t quads, const std::int8_t* sum_codes,
                                                                 bool has_wide, F32 (&running)[4]) {
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) {
    running[v] = mul(running[v], super_scale<F32>(shape, panel, row_scales, 16 * v));
    if constexpr (kGrid == GridSource::minima)
      running[v] = fma(to_f32(sum_of_minima<Bytes, Sums, Quad>(minima + 64 * v, quads, sum_codes, has_wide)),
                       minus_super_minimum<F32>(panel, 16 * v), running[v]);
  }
}

// One panel. kGroup: 16 or 32 where multiples are read in place, which is done for whole blocks only; else 0.
template <class F32, class Bytes, class Sums, class Quad, int kLow, int kHigh, bool kTable, GridSource kGrid,
          int kGroup = 0>
[[gnu::noinline]] static void vector_panel(const IntegerShape& shape, const std::uint8_t* panel,
                                           const float* row_scales, std::size_t columns, const QuantizedActivations& x,
                                           std::size_t read_ahead, float* y, int accumulate) {
  if constexpr (kGrid == GridSource::row)
    return sum_whole_rows<F32, Bytes, Sums, Quad, kLow, kHigh, kTable>(shape, panel, row_scales, columns, x, read_ahead,
                                                                       y, accumulate);
  constexpr bool kMultiples = kGrid == GridSource::multiples || kGrid == GridSource::minima;
  constexpr bool kExpanded = kGrid == GridSource::expanded || kGrid == GridSource::expanded_offsets;
  alignas(64) float scales[kExpanded ? kMaxGroups * 64 : 1],
      offsets[kGrid == GridSource::expanded_offsets ? kMaxGroups * 64 : 1], super[128];
  alignas(64) std::uint8_t bytes[2 * kMaxGroups * 64];
  const Bytes table = Bytes::table(shape.points);
  const bool has_super = has_multiples(shape);
  const std::size_t run_columns = kBlockDepth / x.runs;
  F32 total[4], running[4];
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) total[v] = accumulate != 0 ? F32::load(y + 16 * v) : F32::set(0);
  for (std::size_t start = 0, b = 0; start < columns; start += kBlockDepth, ++b) {
    const std::size_t depth = columns - start < kBlockDepth ? columns - start : kBlockDepth,
                      size = block_bytes(shape, depth);
    read_in_order<Bytes>(panel, low_plane_offset(shape, depth));
    VectorCursor at{panel + low_plane_offset(shape, depth),
                    panel + codes_offset(shape, depth),
                    x.codes + b * kBlockDepth,
                    x.codes + b * kBlockDepth,
                    x.wide + b * kBlockDepth,
                    x.wide_quads[b],
                    x.biases + b * kMaxGroups,
                    x.sums + b * kMaxGroups,
                    nullptr,
                    nullptr,
                    ReadAhead(panel, size, depth / 32, read_ahead)};
    const bool has_wide = at.wide != 0;
    const float* const x_scales = x.scales + b * x.runs;
    const auto add_run = [&](std::size_t run) __attribute__((always_inline)) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) total[v] = fma(running[v], F32::set(x_scales[run]), total[v]);
    };
    if constexpr (kMultiples) {
      at.scales = scale_multiples<Bytes>(shape, panel, depth, bytes);
      const std::uint8_t* minima = nullptr;
      constexpr std::size_t kQuads = kGroup == 16 ? 2 : 1;
      if constexpr (kGrid == GridSource::minima)
        minima = minimum_multiples<Bytes>(shape, panel, depth, bytes + kMaxGroups * 64);
      const auto take = [&]<int kOctet>(std::size_t column) __attribute__((always_inline)) {
        take_octet<kOctet, F32, Bytes, Sums, Quad, kLow, kHigh, kTable, kGroup, kGrid == GridSource::multiples>(
            at, table, shape, column % run_columns == 0, running);
        if ((column + 32) % run_columns != 0) return;
        const std::size_t run = column / run_columns;
        scale_run_of_multiples<F32, Bytes, Sums, Quad, kGrid>(
            shape, panel, row_scales, minima, kQuads, x.sum_codes + (b * x.runs + run) * kSumCodes, has_wide, running);
        add_run(run);
      };
      for (std::size_t k = 0; k < depth; k += kActivationDepth) {
        take.template operator()<0>(k);
        take.template operator()<1>(k + 32);
        take.template operator()<2>(k + 64);
        take.template operator()<3>(k + 96);
        at.scales += 32 / kGroup * 256;
        if constexpr (kGrid == GridSource::minima) minima += kQuads * 256;
      }
    } else {
      if constexpr (kExpanded) {
        ExpandedGrid grid{scales, offsets, super, bytes, nullptr};
        expand_grid<F32, Bytes>(shape, panel, row_scales, depth, grid);
      }
      const std::uint8_t* const first =
          kExpanded ? reinterpret_cast<const std::uint8_t*>(scales) : panel + scales_offset(shape);
      for (std::size_t k = 0, run = 0; k < depth; k += run_columns, ++run) {
        take_run<F32, Bytes, Sums, Quad, kLow, kHigh, kTable, kGrid>(
            at, table, shape, first, offsets, k, depth - k < run_columns ? depth - k : run_columns, running);
        if constexpr (kExpanded)
          if (has_super) {
#pragma GCC unroll 4
            for (int v = 0; v < 4; ++v) running[v] = mul(running[v], F32::load(super + 16 * v));
          }
        add_run(run);
      }
    }
    panel += size;
  }
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) total[v].store(y + 16 * v);
}

// The shapes of integer_form.cpp.
template <class F32, class Bytes, class Sums, class Quad, GridSource kGrid>
static void vector_of_codes(const IntegerShape& shape, const std::uint8_t* panel, const float* row_scales,
                            std::size_t columns, const QuantizedActivations& x, std::size_t read_ahead, float* y,
                            int accumulate) {
  const auto run = [&](auto kernel) { kernel(shape, panel, row_scales, columns, x, read_ahead, y, accumulate); };
  switch (shape.low_bits * 10 + shape.high_bits) {
    case 80:
      return run(vector_panel<F32, Bytes, Sums, Quad, 8, 0, false, kGrid>);
    case 70:
      return run(vector_panel<F32, Bytes, Sums, Quad, 7, 0, false, kGrid>);
    case 40:
      return run(shape.has_table ? vector_panel<F32, Bytes, Sums, Quad, 4, 0, true, kGrid>
                                 : vector_panel<F32, Bytes, Sums, Quad, 4, 0, false, kGrid>);
    case 42:
      return run(vector_panel<F32, Bytes, Sums, Quad, 4, 2, false, kGrid>);
    case 41:
      return run(vector_panel<F32, Bytes, Sums, Quad, 4, 1, false, kGrid>);
    case 21:
      return run(shape.has_table ? vector_panel<F32, Bytes, Sums, Quad, 2, 1, true, kGrid>
                                 : vector_panel<F32, Bytes, Sums, Quad, 2, 1, false, kGrid>);
    case 20:
      return run(shape.has_table ? vector_panel<F32, Bytes, Sums, Quad, 2, 0, true, kGrid>
                                 : vector_panel<F32, Bytes, Sums, Quad, 2, 0, false, kGrid>);
    case 10:
      return run(vector_panel<F32, Bytes, Sums, Quad, 1, 0, false, kGrid>);
    default:
      return;
  }
}

// The two-level formats, all of whose blocks are whole.
template <class F32, class Bytes, class Sums, class Quad>
static void vector_of_multiples(const IntegerShape& shape, const std::uint8_t* panel, const float* row_scales,
                                std::size_t columns, const QuantizedActivations& x, std::size_t read_ahead, float* y,
                                int accumulate) {
  const auto run = [&](auto kernel) { kernel(shape, panel, row_scales, columns, x, read_ahead, y, accumulate); };
  switch (shape.low_bits * 10 + shape.high_bits) {
    case 40:
      if (shape.has_table && shape.group == 16)
        return run(vector_panel<F32, Bytes, Sums, Quad, 4, 0, true, GridSource::multiples, 16>);
      return run(shape.has_table ? vector_panel<F32, Bytes, Sums, Quad, 4, 0, true, GridSource::multiples, 32>
                                 : vector_panel<F32, Bytes, Sums, Quad, 4, 0, false, GridSource::minima, 32>);
    case 41:
      return run(vector_panel<F32, Bytes, Sums, Quad, 4, 1, false, GridSource::minima, 32>);
    case 42:
      return run(vector_panel<F32, Bytes, Sums, Quad, 4, 2, false, GridSource::multiples, 16>);
    case 21:
      return run(vector_panel<F32, Bytes, Sums, Quad, 2, 1, false, GridSource::multiples, 16>);
    case 20:
      return run(vector_panel<F32, Bytes, Sums, Quad, 2, 0, false, GridSource::minima, 16>);
    default:
      return;
  }
}

template <class F32, class Bytes, class Sums, class Quad>
static void integer_vector(const IntegerShape& shape, const std::uint8_t* panel, const float* row_scales,
                           std::size_t columns, const QuantizedActivations& x, std::size_t read_ahead, float* y,
                           int accumulate) {
  if (shape.super_scales != 0)
    vector_of_multiples<F32, Bytes, Sums, Quad>(shape, panel, row_scales, columns, x, read_ahead, y, accumulate);
  else if (shape.offset != OffsetKind::none)
    vector_of_codes<F32, Bytes, Sums, Quad, GridSource::expanded_offsets>(shape, panel, row_scales, columns, x,
                                                                          read_ahead, y, accumulate);
  else if (shape.scale == ScaleKind::f16 && shape.factor == 1.0f)
    vector_of_codes<F32, Bytes, Sums, Quad, GridSource::halves>(shape, panel, row_scales, columns, x, read_ahead, y,
                                                                accumulate);
  else
    vector_of_codes<F32, Bytes, Sums, Quad, GridSource::expanded>(shape, panel, row_scales, columns, x, read_ahead, y,
                                                                  accumulate);
}

}  // namespace nibble::lanes
