// SPDX-License-Identifier: Apache-2.0
//
// How integer weights lie in memory, and what the integer kernels need to know about them.
//
// Weights are kept in panels of 64 rows, a panel in blocks of 256 columns (the last one shorter, a multiple of 32). A block holds its
// code planes and behind them its grid, so that one panel is one stream:
//
//   low plane    bits 0 .. low_bits-1 of every code      8, 4, 2 or 1 bits
//   high plane   the next high_bits                      0, 1 or 2 bits
//   super        f16 d (and f16 dmin) per row, for two-level grids
//   scales       one per row and group; then offsets or zero points likewise: [group][64 rows]
//
// A plane of 64-byte lines: a line holds 16 rows x 4 columns (a "quad" of columns) in its bytes and, where codes are narrower than a
// byte, the following quads in the higher bits. Lines of the four 16-row groups follow each other.
//
// The operand u of the products is the code itself, or points[code] for formats with a table, or 2 * bit for 1-bit codes; what it stands
// for is u - middle. A weight is scale * (u - middle) + offset.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nibble {

inline constexpr std::size_t kBlockDepth = 256;       // columns of a resident block
inline constexpr std::size_t kActivationDepth = 128;  // columns that share an activation scale
inline constexpr std::size_t kDepthUnit = 32;         // columns are padded to this many

enum class ScaleKind : std::uint8_t { row, f16, bf16, f32, e8m0, e4m3, signed8, six_bits, unsigned8, unsigned8_of_row, nibble_pair };
// six_bits: less 32; low halves two groups to a byte, behind them the high two bits four groups to a byte.
// none; f16 per group; an 8-bit multiple of dmin, subtracted; the high half of a nibble pair, the same; a zero point in 8 bits, or
// in low_bits bits, several groups to a byte (doubled for 1-bit codes, whose operands are 0 and 2)
enum class OffsetKind : std::uint8_t { none, f16, minus_unsigned8, minus_high_nibble, zero8, zero_packed };

struct IntegerShape {
  std::uint8_t low_bits = 8, high_bits = 0;
  bool has_table = false;
  std::uint8_t points[16] = {};  // operands by code
  std::int32_t middle = 0;
  ScaleKind scale = ScaleKind::f16;
  OffsetKind offset = OffsetKind::none;
  std::uint8_t super_scales = 0;  // f16 per row and block: 0, 1 (d) or 2 (d, dmin)
  std::uint32_t group = 32;       // columns that share a scale; multiples of 16 that divide 256, or 256 and the scale of the row
  float factor = 1;               // what every scale is multiplied with, for tables whose points were scaled to integers
};

// Bytes of the parts of a block of `depth` columns.
static constexpr std::size_t low_plane_bytes(const IntegerShape& s, std::size_t depth) { return depth * 64 * s.low_bits / 8; }
static constexpr std::size_t high_plane_bytes(const IntegerShape& s, std::size_t depth) { return depth * 64 * s.high_bits / 8; }
static constexpr std::size_t code_bytes(const IntegerShape& s, std::size_t depth) { return low_plane_bytes(s, depth) + high_plane_bytes(s, depth); }
static constexpr std::size_t num_groups(const IntegerShape& s, std::size_t depth) { return (depth + s.group - 1) / s.group; }
// Bytes of one number; 0 where several share a byte or there is none.
static constexpr std::size_t scale_bytes(ScaleKind kind) {
  switch (kind) {
    case ScaleKind::row:
    case ScaleKind::six_bits:
      return 0;
    case ScaleKind::f16:
    case ScaleKind::bf16:
      return 2;
    case ScaleKind::f32:
      return 4;
    default:
      return 1;
  }
}
static constexpr std::size_t offset_bytes(OffsetKind kind) {
  return kind == OffsetKind::f16 ? 2 : kind == OffsetKind::minus_unsigned8 || kind == OffsetKind::zero8 ? 1 : 0;
}
static constexpr std::size_t super_bytes(const IntegerShape& s) { return std::size_t{s.super_scales} * 128; }
static constexpr std::size_t all_scales_bytes(const IntegerShape& s, std::size_t depth) {
  return s.scale == ScaleKind::six_bits ? num_groups(s, depth) * 48 : num_groups(s, depth) * 64 * scale_bytes(s.scale);
}
static constexpr std::size_t all_offsets_bytes(const IntegerShape& s, std::size_t depth) {
  return s.offset == OffsetKind::zero_packed ? (num_groups(s, depth) * s.low_bits + 7) / 8 * 64 : num_groups(s, depth) * 64 * offset_bytes(s.offset);
}
static constexpr std::size_t scales_offset(const IntegerShape& s, std::size_t depth) { return code_bytes(s, depth) + super_bytes(s); }
static constexpr std::size_t offsets_offset(const IntegerShape& s, std::size_t depth) { return scales_offset(s, depth) + all_scales_bytes(s, depth); }
static constexpr std::size_t block_bytes(const IntegerShape& s, std::size_t depth) { return offsets_offset(s, depth) + all_offsets_bytes(s, depth); }
static constexpr bool has_row_scales(const IntegerShape& s) { return s.scale == ScaleKind::row || s.scale == ScaleKind::unsigned8_of_row; }
// Columns that a kernel multiplies before it applies scales.
static constexpr std::size_t kernel_group(const IntegerShape& s) { return s.group < kActivationDepth ? s.group : kActivationDepth; }

// Activations of a run of tokens for one block of columns.
struct QuantizedActivations {
  const std::int8_t* codes;    // [tokens, kBlockDepth]
  const float* scales;         // [tokens, 2]: one for every 128 columns
  const std::int32_t* biases;  // [tokens, kMaxGroups]: -middle * the group's sum of codes
  const float* sums;           // [tokens, kMaxGroups]: the group's sum of codes
};
inline constexpr std::size_t kMaxGroups = kBlockDepth / 16;

// One product of a decoded block with tokens: y[t, j] += for each run b of 128 columns
//   a_scale[t, b] * sum over its groups g of (dot[t, j, g] * scale[g, j] + sum[t, g] * offset[g, j])
// evaluated as r = dot * scale (first group) or fma(dot, scale, r); r = fma(sum, offset, r); y = fma(r, a_scale, y); all ascending.
struct IntegerProduct {
  const std::uint8_t* panel;  // [depth / 4, 64, 4] operands
  const float* scales;        // [groups, 64]
  const float* offsets;       // the same, or null
  std::size_t depth, group;
  QuantizedActivations x;
  std::size_t tokens;
  float* y;
  std::size_t y_stride;
  int accumulate;
};

}  // namespace nibble
