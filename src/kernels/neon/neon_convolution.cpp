// SPDX-License-Identifier: Apache-2.0
#include "kernels/lanes/point_loops.h"
#include "kernels/neon/quads.h"

namespace nibble::neon {

const ConvolutionLoops kConvolutionLoops = lanes::kLoops<F32, Bytes, Sums, UnsignedQuad, 1, 6, 6, 6, 1, 4, 4, 4, 4>;

}  // namespace nibble::neon
