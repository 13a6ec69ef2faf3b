// SPDX-License-Identifier: Apache-2.0
#include "kernels/avx512/integers.h"
#include "kernels/avx512/parts.h"
#include "kernels/lanes/integer_functions.h"

namespace nibble::avx512 {

void fill_int8(KernelTable& table) {
  lanes::fill_integer_functions<F32, Bytes, Sums, Quad, UnsignedQuad, 6, 4, 6, 2, true>(table);
}

}  // namespace nibble::avx512
