// SPDX-License-Identifier: Apache-2.0
#include "kernels/avx512/integers.h"
#include "kernels/lanes/point_loops.h"

namespace nibble::avx512 {

const ConvolutionLoops kConvolutionLoops = lanes::kLoops<F32, Bytes, Sums, UnsignedQuad, 4, 8, 8, 6, 4, 12, 8, 6, 8>;

}  // namespace nibble::avx512
