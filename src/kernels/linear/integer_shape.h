// SPDX-License-Identifier: Apache-2.0
//
// How integer weights lie in memory, and what the integer kernels need to know about them.
//
// Weights are kept in panels of 64 rows, a panel in blocks of 256 columns (the last one shorter, a multiple of 32). A
// block holds its grid and behind it its code planes, so that one panel is one stream. The order matters: processors
// fetch ahead what is read strictly in order, and a kernel that reads the grid first, then the codes, gets twice the
// bytes per second of one that comes back to the grid group by group.
//
//   super        f16 d (and f16 dmin) per row, for two-level grids
//   scales       one per row and group, [group][64 rows]; multiples of d are planes themselves, with groups in place of
//   columns offsets      or zero points or multiples of dmin, likewise high plane   bits low_bits .. of every code 0, 1
//   or 2 bits low plane    bits 0 .. low_bits-1                    8, 7, 4, 2 or 1 bits
//
// A plane of 64-byte lines: a line holds 16 rows x 4 columns (a "quad" of columns) in its bytes and, where codes are
// narrower than a byte, the following quads in the higher bits. Lines of the four 16-row groups follow each other. Of
// eight quads of 7-bit codes seven have a line each, and the bits 7 of those are bits 0 to 6 of the eighth.
//
// The operand u of the products is the code itself, or points[code] for formats with a table, or 2 * bit for 1-bit
// codes; what it stands for is u - middle. A weight is scale * (u - middle) + offset.
#pragma once

#include <cstddef>
#include <cstdint>

#include "format/activation_format.h"

namespace nibble {

inline constexpr std::size_t kBlockDepth = 256;  // columns of a resident block
inline constexpr std::size_t kActivationDepth =
    128;  // columns that share an activation scale at most (a run), and a grid of sums
inline constexpr std::size_t kShortestRun = 32;
inline constexpr std::size_t kDepthUnit = 32;  // columns are padded to this many

// Numbers of their own; or nested: a code in a map, times what the row's scales in this block are counted in, plus an
// offset; or multiples of the block's d, the last one of the row's scale: planes of 8, 4 + 2 (two's complement), 8, 4
// and 8 bits.
enum class ScaleKind : std::uint8_t {
  row,
  f16,
  bf16,
  f32,
  e8m0,
  e4m3,
  nested8,
  signed8,
  signed6,
  unsigned8,
  unsigned4,
  unsigned8_of_row
};
// none; a number per group; a multiple of dmin, subtracted: planes of 8 or 4 bits; a zero point in 8 bits, or in
// low_bits bits, several groups to a byte (doubled for 1-bit codes, whose operands are 0 and 2)
enum class OffsetKind : std::uint8_t { none, f16, bf16, f32, minus_unsigned8, minus_unsigned4, zero8, zero_packed };

struct IntegerShape {
  std::uint8_t low_bits = 8, high_bits = 0;
  bool has_table = false;
  bool signed_codes = false;     // codes of 8 bits lie in memory as signed bytes, 128 less, and so are operands
  std::uint8_t points[16] = {};  // operands by code
  std::int32_t middle = 0;
  ScaleKind scale = ScaleKind::f16;
  OffsetKind offset = OffsetKind::none;
  std::uint8_t super_scales = 0;  // f16 per row and block: 0, 1 (d) or 2 (d, dmin)
  std::uint32_t group =
      32;  // columns that share a scale; multiples of 16 that divide 256, or 256 and the scale of the row
  const float* scale_map = nullptr;  // [256], for nested scales
  float scale_offset = 0;
  float factor = 1;  // what every scale is multiplied with, for tables whose points were scaled to integers
};

// Bytes of the parts of a block of `depth` columns.
static constexpr std::size_t low_plane_bytes(const IntegerShape& s, std::size_t depth) {
  return depth * 64 * s.low_bits / 8;
}
static constexpr std::size_t high_plane_bytes(const IntegerShape& s, std::size_t depth) {
  return depth * 64 * s.high_bits / 8;
}
static constexpr std::size_t code_bytes(const IntegerShape& s, std::size_t depth) {
  return low_plane_bytes(s, depth) + high_plane_bytes(s, depth);
}
inline constexpr std::size_t kSevenBitLines = 7;  // for eight quads
// Where quad `quad` of a line's 8 / bits has its bits in the high plane.
static constexpr std::size_t high_bit(const IntegerShape& s, std::size_t quad) {
  constexpr std::size_t kThreeBits[8] = {2, 3, 6, 7, 1, 0, 5, 4};
  return s.low_bits == 2 ? kThreeBits[quad] : quad * s.high_bits;
}
static constexpr std::size_t num_groups(const IntegerShape& s, std::size_t depth) {
  return (depth + s.group - 1) / s.group;
}
static constexpr bool has_multiples(const IntegerShape& s) { return s.scale >= ScaleKind::signed8; }
// Whether a code times its multiple fits a byte: panels then hold such products, and runs are summed without a look at
// their groups.
static constexpr bool has_small_multiples(const IntegerShape& s) {
  return s.scale == ScaleKind::unsigned4 && s.low_bits == 2 && s.high_bits == 0 && s.middle == 0 && !s.has_table &&
         s.group == 16;
}
static constexpr bool has_minima(const IntegerShape& s) {
  return s.offset == OffsetKind::minus_unsigned8 || s.offset == OffsetKind::minus_unsigned4;
}
// Bytes of one number; 0 for planes of multiples, and where several share a byte or there is none.
static constexpr std::size_t scale_bytes(ScaleKind kind) {
  return kind == ScaleKind::f16 || kind == ScaleKind::bf16                                  ? 2
         : kind == ScaleKind::f32                                                           ? 4
         : kind == ScaleKind::e8m0 || kind == ScaleKind::e4m3 || kind == ScaleKind::nested8 ? 1
                                                                                            : 0;
}
static constexpr std::size_t offset_bytes(OffsetKind kind) {
  return kind == OffsetKind::f16 || kind == OffsetKind::bf16 ? 2
         : kind == OffsetKind::f32                           ? 4
         : kind == OffsetKind::zero8                         ? 1
                                                             : 0;
}
static constexpr std::size_t super_bytes(const IntegerShape& s) { return std::size_t{s.super_scales} * 128; }
// A plane of `bits` bits for `groups` groups, in whole lines.
static constexpr std::size_t group_plane_bytes(std::size_t bits, std::size_t groups) {
  return ((groups + 3) / 4 * bits + 7) / 8 * 256;
}
static constexpr std::size_t all_scales_bytes(const IntegerShape& s, std::size_t depth) {
  const std::size_t groups = num_groups(s, depth);
  if (!has_multiples(s)) return groups * 64 * scale_bytes(s.scale);
  if (s.scale == ScaleKind::signed6) return group_plane_bytes(4, groups) + group_plane_bytes(2, groups);
  return group_plane_bytes(s.scale == ScaleKind::unsigned4 ? 4 : 8, groups);
}
static constexpr std::size_t all_offsets_bytes(const IntegerShape& s, std::size_t depth) {
  const std::size_t groups = num_groups(s, depth);
  if (has_minima(s)) return group_plane_bytes(s.offset == OffsetKind::minus_unsigned4 ? 4 : 8, groups);
  return s.offset == OffsetKind::zero_packed ? (groups * s.low_bits + 7) / 8 * 64
                                             : groups * 64 * offset_bytes(s.offset);
}
static constexpr std::size_t scales_offset(const IntegerShape& s) { return super_bytes(s); }
static constexpr std::size_t offsets_offset(const IntegerShape& s, std::size_t depth) {
  return scales_offset(s) + all_scales_bytes(s, depth);
}
static constexpr std::size_t codes_offset(const IntegerShape& s, std::size_t depth) {
  return offsets_offset(s, depth) + all_offsets_bytes(s, depth);
}
static constexpr std::size_t low_plane_offset(const IntegerShape& s, std::size_t depth) {
  return codes_offset(s, depth) + high_plane_bytes(s, depth);
}
static constexpr std::size_t block_bytes(const IntegerShape& s, std::size_t depth) {
  return codes_offset(s, depth) + code_bytes(s, depth);
}
static constexpr bool has_row_scales(const IntegerShape& s) {
  return s.scale == ScaleKind::row || s.scale == ScaleKind::unsigned8_of_row;
}
// Columns that a kernel multiplies before it applies scales, where a run of the activations is no shorter.
static constexpr std::size_t kernel_group(const IntegerShape& s) {
  return s.group < kActivationDepth ? s.group : kActivationDepth;
}

// Codes that are small binary floats, by their bits of exponent and mantissa.
enum class FloatCodes : std::uint8_t { e4m3, e5m2, e3m2, e2m3 };

inline constexpr std::size_t kMaxGroups = kBlockDepth / 16;
inline constexpr std::size_t kMaxRuns = kBlockDepth / kShortestRun;
inline constexpr std::size_t kSumCodes = 24;  // bytes of sum_codes for a token and run
inline constexpr int kWideShift = 7;          // a wide code is worth so many bits more than a code

// A grid on which activations are put: code = clamp(round(x * inverse) + zero, -128, 127), worth scale * (code - zero).
struct ActivationScale {
  float scale, inverse, zero;
};

// Activations of several tokens for one block of columns. A number is scale * (code + 128 * wide): columns that are far
// larger than the rest of their run have wide codes, all others none. Dot products of both are exact in 32 bits: 255 *
// (127 + 128 * 127) * 128 columns at most.
struct QuantizedActivations {
  std::size_t runs;            // of columns with a scale each: 256 / the columns of one
  const std::int8_t* codes;    // [tokens, kBlockDepth]
  const float* scales;         // [tokens, runs]
  const std::int32_t* biases;  // [tokens, kMaxGroups]: -middle * the group's sum of codes
  const float* sums;           // [tokens, kMaxGroups]: the group's sum of codes
  // [tokens, runs, 3, 8]: the groups' sums in three parts, worth 1, 2^6 and 2^13 (groups of 16 or 32), each at its
  // place within 128 columns.
  const std::int8_t* sum_codes;
  const std::int8_t* wide;          // [tokens, kBlockDepth]
  const std::uint64_t* wide_quads;  // [tokens]: bit q: a column of quad q is wide; wide is zero wherever no bit is set
};

// One token's part of the arrays above, to be filled.
struct ActivationTarget {
  std::int8_t* codes;
  float* scales;
  std::int32_t* biases;
  float* sums;
  std::int8_t* sum_codes;
  std::int8_t* wide;
  std::uint64_t* wide_quads;
};

// Columns beyond `limit` times the mean magnitude of their run are wide, in runs whose largest is `least` times that or
// more. Of normally distributed numbers 5.5 is 4.4 deviations, which one of 700 runs reaches: where there are no
// outliers nothing is wide.
struct WideRule {
  float limit, least;
};
static constexpr WideRule wide_rule(WideColumns wide) {
  switch (wide) {
    case WideColumns::few:
      return {8, 8};
    case WideColumns::some:
      return {4, 5.5f};
    case WideColumns::many:
      return {4, 4};
    case WideColumns::all:
      return {0, 0};
    default:
      return {__builtin_inff(), 0};
  }
}

// How a token's inputs of one block become codes. group: columns that products sum before they apply scales.
struct ActivationRounding {
  std::size_t run, group;
  std::int32_t middle;  // of the weights' operands
  WideRule wide;
};

// A block's grid as products read it. Filled by expand_grid, which writes to the four arrays.
struct ExpandedGrid {
  float* scales;   // [groups, 64]: a multiple where the shape has them, else the scale itself
  float* offsets;  // [groups, 64], or null
  float* super;    // [2, 64]: what multiples are multiplied with, and minus dmin; null where there are no multiples
  std::uint8_t* bytes;         // 2 * kMaxGroups * 64, for unpacked multiples
  const std::uint8_t* minima;  // [groups / 4, 64, 4] multiples of dmin, or null
};

// Lines of memory that will be read next, asked for little by little while something else is worked out.
struct ComingLines {
  const std::uint8_t* next = nullptr;
  std::size_t count = 0, a_step = 0;
};

// One product of a decoded block with tokens: y[t, j] += for each run b of columns
//   a_scale[t, b] * sum over its groups g of (dot[t, j, g] * scale[g, j] + sum[t, g] * offset[g, j])
// evaluated as r = dot * scale (first group) or fma(dot, scale, r); r = fma(sum, offset, r); y = fma(r, a_scale, y);
// all ascending; dot, exact in 32 bits, is rounded to f32 once. Where a run is shorter than a group of the weights, the
// group is what of it lies in the run. Between the last two, shapes with multiples have r = r * super and, with minima,
// r = fma(sum over g of sum[t, g] * minimum[g, j], -dmin, r), whose first operand is exact in 32 bits. Rows with one
// scale times tokens with one scale stay integers to the end (sums_whole_rows): sum = all of the token's biases, which
// stand first in biases of its first block, + all dot products, exact in 32 bits; y = fma(sum * scale, a_scale, shift *
// row_sum). Columns for which that is so:
inline constexpr std::size_t kMostSummedColumns = 65536;

struct IntegerProduct {
  const std::uint8_t* panel;  // [depth / 4, 64, 4] operands
  ExpandedGrid grid;
  std::size_t depth, group;  // group: columns that share a scale of the weights, 128 at most
  std::size_t run;           // columns that share a scale of the activations
  std::size_t minima_quads;  // of groups, for each 128 columns
  QuantizedActivations x;
  std::size_t tokens;
  float* y;  // sums so far, where accumulate != 0, and meanwhile
  std::size_t y_stride;
  float* target;  // the results, y or anything apart from it: their lines are asked for while they are worked out
  std::size_t target_stride;
  int accumulate;
  ComingLines* coming;             // a step: a group of columns in a tile
  bool sums_whole_rows, is_last;   // y has integers, in the bits of its floats; is_last: all are summed with this block
  const float *shifts, *row_sums;  // [tokens], [64], or null: what results begin with where whole rows are summed
};

}  // namespace nibble
