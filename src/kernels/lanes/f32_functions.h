// SPDX-License-Identifier: Apache-2.0
//
// Fills the floating-point part of a kernel table from one vector type. MR x NV is the set's register tile.
#pragma once

#include "kernels/kernel_table.h"
#include "kernels/lanes/f32_product.h"
#include "kernels/lanes/peaks.h"
#include "kernels/lanes/recurrent_loops.h"
#include "kernels/lanes/vector_loops.h"

namespace nibble::lanes {

// F64: sixteen f64 lanes for sums; Double: eight for products.
template <class F32, class F64, class Double, int MR, int NV>
static void fill_f32_functions(KernelTable& table) {
  table.f32_tile = panel_product<F32, float, MR, NV>;
  table.f64_tile = panel_product<Double, double, MR, NV>;
  table.f16_vector = narrow_vector<F32, HalfBits>;
  table.bf16_vector = narrow_vector<F32, BrainBits>;
  table.widen_f16 = widen<F32, HalfBits>;
  table.widen_bf16 = widen<F32, BrainBits>;
  table.narrow_f16 = narrow_f16<F32>;
  table.store_tile = store_tile<F32>;
  table.transpose_rows = transpose_rows;
  table.f32_peak = float_peak<F32, float, MR * NV>;
  table.f64_peak = float_peak<Double, double, MR * NV>;
  table.read_stream = read_stream<F32>;
  table.rms_norm_row = rms_norm_row<F32>;
  table.silu_multiply = gated_multiply<F32, silu_times<F32>>;
  table.gelu_multiply = gated_multiply<F32, gelu_times<F32>>;
  table.sigmoid_multiply = gated_multiply<F32, sigmoid_times<F32>>;
  table.l2_norm_row = l2_norm_row<F32>;
  table.convolve_channels = convolve_channels<F32>;
  table.delta_rule_columns = delta_rule_columns<F32>;
  table.add_in_place = add_in_place<F32>;
  table.rope_half_split = rope_half_split<F32>;
  table.rope_pairs = rope_pairs<F32>;
  table.soft_cap = soft_cap<F32>;
  table.maximum = maximum<F32>;
  table.sum_exp = sum_exp<F32, F64>;
  table.divergence_sums = divergence_sums<F32, F64>;
  table.softmax_chunk = softmax_chunk<F32>;
  table.merge_softmax = merge_softmax<F32>;
  table.divide = divide<F32>;
  table.exponential = exponential_of<F32>;
}

}  // namespace nibble::lanes
