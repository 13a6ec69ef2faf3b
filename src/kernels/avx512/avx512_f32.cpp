// SPDX-License-Identifier: Apache-2.0
//
// AVX-512 (F, BW, DQ, VL).
#include "kernels/avx512/parts.h"
#include "kernels/avx512/vectors.h"
#include "kernels/lanes/f32_functions.h"

namespace nibble::avx512 {

void fill_f32(KernelTable& table) { lanes::fill_f32_functions<F32, F64, Double, 6, 4>(table); }

}  // namespace nibble::avx512
