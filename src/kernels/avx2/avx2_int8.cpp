// SPDX-License-Identifier: Apache-2.0
#include "kernels/avx2/parts.h"
#include "kernels/avx2/quads.h"
#include "kernels/lanes/integer_functions.h"

namespace nibble::avx2 {

void fill_int8(KernelTable& table) {
  lanes::fill_integer_functions<F32, Bytes, Sums, Quad, UnsignedQuad, 2, 1, 2, 1, true>(table);
}

}  // namespace nibble::avx2
