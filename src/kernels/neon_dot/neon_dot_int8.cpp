// SPDX-License-Identifier: Apache-2.0
//
// Integer products by SDOT; everything else is as without it.
#include "kernels/lanes/integer_functions.h"
#include "kernels/neon_dot/parts.h"
#include "kernels/neon_dot/quads.h"

namespace nibble::neon_dot {

void fill_int8(KernelTable& table) {
  lanes::fill_integer_functions<neon::F32, neon::Bytes, neon::Sums, Quad, UnsignedQuad, 6, 1, 3, 1, true>(table);
}

}  // namespace nibble::neon_dot
