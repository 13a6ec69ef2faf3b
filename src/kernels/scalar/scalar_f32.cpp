// SPDX-License-Identifier: Apache-2.0
//
// Plain C++: the reference.
#include "kernels/lanes/f32_functions.h"
#include "kernels/scalar/parts.h"
#include "kernels/scalar/vectors.h"

namespace nibble::scalar {

void fill_f32(KernelTable& table) { lanes::fill_f32_functions<F32, F64, Double, 2, 2>(table); }

}  // namespace nibble::scalar
