// SPDX-License-Identifier: Apache-2.0
//
// The inner loops of one instruction set, as a table of plain functions. Each set fills its table from the same
// algorithms (lanes/*.h) over its own vector type (<set>/vectors.h), so all sets compute the same bits. Functions
// neither throw, allocate nor print.
//
//   const KernelTable& k = kernel_table(Isa::avx512);
//   k.f32_tile(panel, depth, 64, x, x_stride, tokens, y, y_stride, 0);
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/cpu.h"
#include "kernels/attention/coded_chunk.h"
#include "kernels/linear/unit_shape.h"
#include "kernels/recurrent/recurrent_parts.h"

namespace nibble {

inline constexpr std::size_t kPanelRows = 64;   // weight rows (outputs) that are interleaved and multiplied together
inline constexpr std::size_t kBinaryRows = 32;  // the same for weights of one bit

// y[i, j] = fma(row_scales[i] * column_scales[j], offsets[j] + sum over k < depth of the product of x[i, k] and
// panel[k, j], y[i, j]) for `rows` rows and 64 columns. An element of x holds four bytes and one of the panel four
// signed ones; their product is the sum of the four products. Sums and offsets are whole numbers below 2^24: exact.
struct QuadProduct {
  const std::int32_t* panel;  // [depth, 64]
  std::size_t depth;
  const std::int32_t* x;  // [rows, depth], rows x_stride apart
  std::size_t x_stride, rows;
  const float *row_scales, *column_scales, *offsets;
  float* y;  // [rows, 64], rows y_stride apart
  std::size_t y_stride;
};

struct KernelTable {
  // --- f32 products --------------------------------------------------------------------------------------------------
  // y[t, j] = fma chain over k = 0 .. depth-1, ascending, of x[t, k] * panel[k, j], starting from y[t, j] when
  // accumulate != 0 and from +0 otherwise. panel: [depth, width], width a multiple of 16, 64-byte aligned; y: [tokens,
  // width], rows y_stride apart.
  void (*f32_tile)(const float* panel, std::size_t depth, std::size_t width, const float* x, std::size_t x_stride,
                   std::size_t tokens, float* y, std::size_t y_stride, int accumulate);
  // The same in f64; width a multiple of 8.
  void (*f64_tile)(const double* panel, std::size_t depth, std::size_t width, const double* x, std::size_t x_stride,
                   std::size_t tokens, double* y, std::size_t y_stride, int accumulate);
  // The same for one token and panels of 64 columns that hold f16 or bf16 bits.
  void (*f16_vector)(const std::uint16_t* panel, std::size_t depth, const float* x, float* y);
  void (*bf16_vector)(const std::uint16_t* panel, std::size_t depth, const float* x, float* y);
  // count: a multiple of 16.
  void (*widen_f16)(const std::uint16_t* in, std::size_t count, float* out);
  void (*widen_bf16)(const std::uint16_t* in, std::size_t count, float* out);
  void (*narrow_f16)(const float* in, std::size_t count, std::uint16_t* out);
  // out[t * stride + j] = tile[t * 64 + j] for j < 64.
  void (*store_tile)(const float* tile, std::size_t tokens, float* out, std::size_t stride);
  // out[c * 64 + r] = in[r * in_stride + c] for 64 rows and `cols` columns.
  void (*transpose_rows)(const float* in, std::size_t in_stride, std::size_t cols, float* out);

  // --- bf16 products: null where the set or the processor has none ---------------------------------------------------
  bool bf16_is_fast;  // faster than f32 products
  // y[t, j] (+)= sum over pairs of columns of x times w, both bf16. panel: [pairs, 64, 2]; x: [tokens, 2 * pairs], rows
  // x_stride apart.
  void (*bf16_tile)(const std::uint16_t* panel, std::size_t pairs, const std::uint16_t* x, std::size_t x_stride,
                    std::size_t tokens, float* y, std::size_t y_stride, int accumulate);
  // Two columns each, [columns, 64] to [columns / 2, 64, 2], of numbers that bf16 holds. columns: even.
  void (*pair_bf16)(const float* in, std::size_t columns, std::uint16_t* out);
  // Rounded to nearest, ties to even; subnormals become zero.
  void (*narrow_bf16)(const float* in, std::size_t count, std::uint16_t* out);

  // --- integer products (integer_shape.h) ----------------------------------------------------------------------------
  // Whether operands are signed bytes, for processors whose dot products take two signed ones (sign_operands in
  // integer_form.h).
  bool signed_operands;
  // Operands of a block: panel [depth / 4, 64, 4]. Not for shapes of 8-bit codes, whose low plane is that already.
  void (*unpack_codes)(const IntegerShape& shape, const std::uint8_t* block, std::size_t depth, std::uint8_t* panel);
  // row_scales: [64] or null. Groups are those of kernel_group(shape) columns.
  void (*expand_grid)(const IntegerShape& shape, const std::uint8_t* block, const float* row_scales, std::size_t depth,
                      ExpandedGrid& out);
  // Operands of a panel times the multiples of their groups of 16 columns, for shapes whose products fit a byte
  // (has_small_multiples). multiples: [groups / 4, 64, 4], as expand_grid leaves them in bytes.
  void (*multiply_operands)(const std::uint8_t* multiples, std::size_t depth, std::uint8_t* panel);
  void (*integer_product)(const IntegerProduct& product);
  ReadAhead read_ahead;  // base/cpu.h
  // out[column, row] = scale * value, rounded once. codes: [columns / 4, 64, 4]; scales: [columns / group, 64]; out:
  // [columns, 64]. columns: a multiple of 4, as is group.
  void (*widen_float_codes)(FloatCodes kind, const std::uint8_t* codes, std::size_t columns, const float* scales,
                            std::size_t group, float* out);
  // A block of units, decoded: the f16 super scale, signed 8-bit multiples for groups of `group` columns, 4-bit codes
  // with a table.
  void (*expand_units)(const UnitShape& units, std::size_t group, const std::uint8_t* block, std::uint8_t* out);
  // One token times a whole panel of units: y[64], added to what is there when accumulate != 0. Null where blocks are
  // decoded first. x: its blocks.
  void (*unit_vector)(const UnitShape& units, const IntegerShape& shape, const std::uint8_t* panel,
                      std::size_t num_blocks, const QuantizedActivations& x, float* y, int accumulate);
  // One token times a whole panel: y[64], added to what is there when accumulate != 0. columns: padded to kDepthUnit.
  // x: the blocks of one token, one after the other. read_ahead: the bytes by which lines are asked for before they are
  // read, or 0. Null where unpacked panels serve single tokens as well.
  void (*integer_vector)(const IntegerShape& shape, const std::uint8_t* panel, const float* row_scales,
                         std::size_t columns, const QuantizedActivations& x, std::size_t read_ahead, float* y,
                         int accumulate);
  // The same where whole rows are summed as integers (sums_whole_rows in integer_shape.h).
  void (*row_vector)(const IntegerShape& shape, const std::uint8_t* panel, const float* row_scales, std::size_t columns,
                     const QuantizedActivations& x, std::size_t read_ahead, float* y, int accumulate);
  void (*quad_product)(const QuadProduct& product);
  // One token's `count` inputs (finite) of one block as int8: scale = limit / 127 for each run, code = x * (127 /
  // limit) rounded to even, of which wide columns have a multiple of 128 in their wide code. limit: the largest
  // magnitude of the run, or what ActivationRounding::wide says. Zeros up to kBlockDepth.
  void (*quantize_activations)(const float* x, std::size_t count, const ActivationRounding& rounding,
                               const ActivationTarget& out);
  // The same on a grid that is given, without wide codes. Columns beyond count get code 0.
  void (*quantize_on_grid)(const ActivationScale& grid, const float* x, std::size_t count,
                           const ActivationRounding& rounding, const ActivationTarget& out);
  // out[0], out[1]: the smallest and the largest of the numbers and 0.
  void (*find_range)(const float* x, std::size_t count, float* out);

  // --- products of signs (binary_matrix.h) ---------------------------------------------------------------------------
  // y[t, n] = ones in x[t] xor panel column n. panel: [words, kBinaryRows]; x: rows x_stride words apart; y: [tokens,
  // kBinaryRows], y_stride apart.
  void (*binary_product)(const std::uint64_t* panel, std::size_t words, const std::uint64_t* x, std::size_t x_stride,
                         std::size_t tokens, std::uint32_t* y, std::size_t y_stride);

  // --- between the products (definitions in vector_ops.h) ------------------------------------------------------------
  void (*rms_norm_row)(const float* x, const float* weight, std::size_t width, float epsilon, float* out);
  void (*silu_multiply)(const float* gate, const float* up, std::size_t count, float* out);
  void (*gelu_multiply)(const float* gate, const float* up, std::size_t count, float* out);
  void (*sigmoid_multiply)(const float* gate, const float* up, std::size_t count, float* out);
  void (*l2_norm_row)(const float* x, std::size_t width, float epsilon, float* out);
  void (*add_in_place)(float* x, const float* y, std::size_t count);
  // One head of one token.
  void (*rope_half_split)(float* x, const float* cosine, const float* sine, std::size_t half);
  void (*rope_pairs)(float* x, const float* cosine, const float* sine, std::size_t half);
  // x[i] = outer * tanh(inner * x[i])
  void (*soft_cap)(float* x, std::size_t count, float inner, float outer);

  // --- operations that recur (recurrent/recurrent.h) -----------------------------------------------------------------
  void (*convolve_channels)(const ConvolvedChannels& channels);
  void (*delta_rule_columns)(const DeltaColumns& columns);

  // --- distributions over a vocabulary (log_probabilities.h) ---------------------------------------------------------
  float (*maximum)(const float* x, std::size_t count);
  // sum of exp(x[i] - maximum), in f64; NaN when a value is.
  double (*sum_exp)(const float* x, std::size_t count, float maximum);
  // With e = exp(p[i] - maximum_p): out[0] = sum of e, out[1] = sum of exp(q[i] - maximum_q), out[2] = sum of e * (p[i]
  // - q[i]), in f64.
  void (*divergence_sums)(const float* p, const float* q, std::size_t count, float maximum_p, float maximum_q,
                          double* out);

  // --- limits.h: results depend on every operation, and mean nothing -------------------------------------------------
  float (*f32_peak)(std::size_t iterations);   // 384 multiply-adds each
  float (*f64_peak)(std::size_t iterations);   // 192 multiply-adds each
  float (*int8_peak)(std::size_t iterations);  // 768 multiply-adds each
  float (*bf16_peak)(std::size_t iterations);  // 384 multiply-adds each; null where the set has no such instruction
  float (*read_stream)(const float* data, std::size_t count);

  // --- attention -----------------------------------------------------------------------------------------------------
  // One chunk of 64 scores of one query: scores[j] *= scale for begin <= j < end; then p[j] = 2^(scores[j] - maximum),
  // 0 for the others, in place, maximum being the largest score so far, this chunk's included. Takes both running
  // values along and returns the factor, 2^(old - new maximum), by which what was summed before must be multiplied; the
  // sum is already. begin < end <= 64. At first: -FLT_MAX and 0.
  float (*softmax_chunk)(float* scores, std::size_t begin, std::size_t end, float scale, float* running_maximum,
                         float* running_sum);
  // What two runs of positions gave one query becomes what they give together: result[count] of the first, and of the
  // second, each relative to its maximum. count: a multiple of 16.
  void (*merge_softmax)(const float* other, float other_maximum, float other_sum, std::size_t count, float* result,
                        float* maximum, float* sum);
  // A query of `count` numbers as int8 for groups of 32: scale = amax / 127, times `factor`; biases: -offset * sum of
  // codes. Codes: whole groups.
  void (*quantize_query)(const float* x, std::size_t count, float factor, std::int32_t offset, std::int8_t* codes,
                         float* scales, std::int32_t* biases);
  // `count` rows and one chunk of a quantized cache: what they see of it is added to what they have gathered
  // (coded_chunk.h).
  void (*attend_to_codes)(const CodedChunk& chunk, const CodedRows& rows, std::size_t count, const SeenPositions& seen,
                          const ScoreCap& cap);
  // out[i] = x[i] / divisor
  void (*divide)(const float* x, std::size_t count, float divisor, float* out);
  float (*exponential)(float x);
};

}  // namespace nibble
