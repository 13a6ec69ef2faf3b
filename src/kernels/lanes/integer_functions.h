// SPDX-License-Identifier: Apache-2.0
//
// Fills the integer part of a kernel table. MR x NV and GR x GV are the set's register tiles (integer_product.h).
#pragma once

#include "kernels/kernel_table.h"
#include "kernels/lanes/activations.h"
#include "kernels/lanes/coded_attention.h"
#include "kernels/lanes/float_codes.h"
#include "kernels/lanes/integer_grid.h"
#include "kernels/lanes/integer_product.h"
#include "kernels/lanes/integer_vector.h"
#include "kernels/lanes/peaks.h"
#include "kernels/lanes/quad_product.h"
#include "kernels/lanes/unpack.h"

namespace nibble::lanes {

// kVector: with kernels of their own for a single token. They repeat much code; sets that do not need the speed take
// the panel path.
template <class F32, class Bytes, class Sums, class Quad, class UnsignedQuad, int MR, int NV, int GR, int GV,
          bool kVector>
static void fill_integer_functions(KernelTable& table) {
  table.unpack_codes = unpack_codes<Bytes>;
  table.multiply_operands = multiply_operands<Bytes>;
  table.expand_grid = expand_grid<F32, Bytes>;
  table.widen_float_codes = widen_float_codes<F32, Bytes>;
  table.integer_product = integer_product<F32, Bytes, Sums, Quad, MR, NV, GR, GV>;
  table.quad_product = quad_product<F32, Bytes, Sums, UnsignedQuad, MR, NV>;
  if constexpr (kVector) {
    table.integer_vector = integer_vector<F32, Bytes, Sums, Quad>;
    table.row_vector = vector_of_codes<F32, Bytes, Sums, Quad, GridSource::row>;
  }
  table.int8_peak = int8_peak<Bytes, Sums, Quad>;
  table.quantize_activations = quantize_activations<F32>;
  table.quantize_on_grid = quantize_on_grid<F32>;
  table.find_range = find_range<F32>;
  table.quantize_query = quantize_query<F32, StoredKeys<Bytes, Quad>::kLess>;
  table.attend_to_codes = attend_to_codes<F32, Bytes, Sums, Quad, UnsignedQuad, GR, GV>;
}

}  // namespace nibble::lanes
