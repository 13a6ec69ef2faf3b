// SPDX-License-Identifier: Apache-2.0
//
// Integer products with the 256-bit VPDPBUSD; everything else is as in AVX2.
#include "kernels/avxvnni/parts.h"
#include "kernels/avxvnni/quads.h"
#include "kernels/lanes/integer_functions.h"

namespace nibble::avxvnni {

void fill_int8(KernelTable& table) {
  lanes::fill_integer_functions<avx2::F32, avx2::Bytes, avx2::Sums, Quad, UnsignedQuad, 6, 1, 4, 1, true>(table);
}

}  // namespace nibble::avxvnni
