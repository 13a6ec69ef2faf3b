// SPDX-License-Identifier: Apache-2.0
//
// Advanced SIMD, which every aarch64 processor has.
#include "kernels/lanes/f32_functions.h"
#include "kernels/neon/parts.h"
#include "kernels/neon/vectors.h"

namespace nibble::neon {

void fill_f32(KernelTable& table) { lanes::fill_f32_functions<F32, F64, Double, 6, 1>(table); }

}  // namespace nibble::neon
