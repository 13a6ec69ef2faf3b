// SPDX-License-Identifier: Apache-2.0
#include "kernels/lanes/point_loops.h"
#include "kernels/neon_i8mm/quads.h"

namespace nibble::neon_i8mm {

const ConvolutionLoops kConvolutionLoops =
    lanes::kLoops<neon::F32, neon::Bytes, neon::Sums, UnsignedQuad, 1, 6, 6, 6, 1, 6, 6, 6, 4>;

}  // namespace nibble::neon_i8mm
