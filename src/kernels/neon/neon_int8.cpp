// SPDX-License-Identifier: Apache-2.0
#include "kernels/lanes/integer_functions.h"
#include "kernels/neon/parts.h"
#include "kernels/neon/quads.h"

namespace nibble::neon {

void fill_int8(KernelTable& table) {
  lanes::fill_integer_functions<F32, Bytes, Sums, Quad, UnsignedQuad, 4, 1, 3, 1, true>(table);
}

}  // namespace nibble::neon
