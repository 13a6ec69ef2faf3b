// SPDX-License-Identifier: Apache-2.0
//
// Integer products by SMMLA, of single tokens by SDOT.
#include "kernels/lanes/integer_functions.h"
#include "kernels/neon_i8mm/parts.h"
#include "kernels/neon_i8mm/quads.h"

namespace nibble::neon_i8mm {

void fill_int8(KernelTable& table) {
  lanes::fill_integer_functions<neon::F32, neon::Bytes, neon::Sums, Quad, UnsignedQuad, 4, 1, 4, 1, true>(table);
}

}  // namespace nibble::neon_i8mm
