// SPDX-License-Identifier: Apache-2.0
#include "kernels/lanes/integer_functions.h"
#include "kernels/scalar/integers.h"
#include "kernels/scalar/parts.h"

namespace nibble::scalar {

void fill_int8(KernelTable& table) {
  lanes::fill_integer_functions<F32, Bytes, Sums, Quad, UnsignedQuad, 2, 1, 2, 1, false>(table);
}

}  // namespace nibble::scalar
