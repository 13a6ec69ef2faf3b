// SPDX-License-Identifier: Apache-2.0
//
// AVX2 with FMA and F16C.
#include "kernels/avx2/parts.h"
#include "kernels/avx2/vectors.h"
#include "kernels/lanes/f32_functions.h"

namespace nibble::avx2 {

void fill_f32(KernelTable& table) { lanes::fill_f32_functions<F32, F64, Double, 6, 1>(table); }

}  // namespace nibble::avx2
