// SPDX-License-Identifier: Apache-2.0
#include "kernels/avx2/quads.h"
#include "kernels/lanes/point_loops.h"

namespace nibble::avx2 {

const ConvolutionLoops kConvolutionLoops = lanes::kLoops<F32, Bytes, Sums, UnsignedQuad, 1, 6, 6, 6, 1, 2, 2, 2, 4>;

}  // namespace nibble::avx2
