// SPDX-License-Identifier: Apache-2.0
//
// Attention to one chunk of 64 positions of a quantized cache, in integers. The arithmetic, in this order, for query
// row r, position j and dimension d of group g (32 dimensions):
//
//   t[j]      = sum over g of (key dot query, exact) * key scale[g, j] * query scale[r, g], a chain of fused
//   multiply-adds in ascending g;
//               query scales include the scale of the softmax and log2 e; with a soft cap, outer * tanh(t[j] * inner)
//               in its place
//   m         = max t[j] over the positions that r sees;  p[j] = 2^(t[j] - m), 0 for the others
//   a         = max p[j] * (max over g of |value scale[g, j]|)
//   P[g, j]   = p[j] * (65280 / a) * |value scale[g, j]|, rounded to an integer, ties to even: 16 bits, multiplied as
//   two bytes result[d] = fma(sum over j of P[g, j] * value code[j, d], exact, a / 65280 * 2^(m - top), result[d] *
//   2^(old top - top))
//
// top being the largest m so far; codes have the signs of their scales. The sum of p goes along with result in the same
// way.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nibble {

inline constexpr std::size_t kKvChunk = 64;  // positions that are stored and attended to together
inline constexpr std::size_t kKvGroup = 32;  // dimensions that share a scale in the quantized types

// Codes: of keys offset by 128, of values in two's complement; those of 4 bits offset by 8. Lines of 64 bytes: of keys
// 16 positions x 4 dimensions, [depth / 4, 4 lines]; of values 16 dimensions x 4 positions, [16, depth / 16 lines].
// 4-bit lines hold two: in their high bits those of the next four dimensions of keys, of the next 16 of values. Scales:
// f16 [depth / 32, 64 positions].
struct CodedChunk {
  int bits;           // 8 or 4
  std::size_t depth;  // a multiple of kKvGroup
  const std::uint8_t *keys, *values;
  const std::uint16_t *key_scales, *value_scales;
  const std::byte* next;  // what will be wanted afterwards and is fetched meanwhile, in two halves
  std::size_t next_bytes;
};

// A soft cap on scores: x becomes outer * tanh(inner * x). outer 0: none.
struct ScoreCap {
  float inner = 0, outer = 0;
};

// Which of a chunk's 64 positions its rows see: row r those from first + r / rows_per_token (or all) up to seen + r /
// rows_per_token (or all), of which there is at least one.
struct SeenPositions {
  static constexpr std::ptrdiff_t kNoWindow = PTRDIFF_MIN;
  std::ptrdiff_t first;  // kNoWindow: from the chunk's start, whatever the row
  std::size_t seen, rows_per_token;
  std::size_t begin(std::size_t row) const {
    if (first == kNoWindow) return 0;
    const std::ptrdiff_t at = first + static_cast<std::ptrdiff_t>(row / rows_per_token);
    return at > 0 ? static_cast<std::size_t>(at) : 0;
  }
  std::size_t end(std::size_t row) const {
    const std::size_t at = seen >= kKvChunk ? kKvChunk : seen + row / rows_per_token;
    return at < kKvChunk ? at : kKvChunk;
  }
};

// What rows of queries are, and have gathered so far; and memory for what a chunk makes of them. groups: depth / 32.
struct CodedRows {
  const std::int8_t* codes;    // [rows, depth]
  const float* scales;         // [rows, groups]
  const std::int32_t* biases;  // [rows, groups]: minus the codes' sum times the offset of keys
  // [rows, depth], [rows + 15], [rows + 15]: arrays of one number a row are read and written in whole vectors; those of
  // other rows stay what they are
  float *result, *top, *sum;
  float* scores;  // [rows, 64]
  // [rows + 15] each: a chunk's m, 2^(old top - top), what the integers are multiplied with, the sum of p, a
  float *here, *kept, *factor, *added, *bound;
  std::uint8_t* weights;  // [rows, groups, 2, 64]: P, high bytes and low bytes
  std::uint8_t* panels;   // [2, depth, 64], for 4-bit codes
  float* grids;           // [2 * groups + 1, 64]: scales of keys, of values, the largest of the latter

  // The same without the first rows.
  CodedRows from(std::size_t row, std::size_t depth) const {
    CodedRows r = *this;
    const std::size_t groups = depth / kKvGroup;
    r.codes += row * depth;
    r.scales += row * groups;
    r.biases += row * groups;
    r.result += row * depth;
    r.top += row;
    r.sum += row;
    return r;
  }
};

}  // namespace nibble
