// SPDX-License-Identifier: Apache-2.0
#include "kernels/lanes/point_loops.h"
#include "kernels/scalar/integers.h"

namespace nibble::scalar {

const ConvolutionLoops kConvolutionLoops = lanes::kLoops<F32, Bytes, Sums, UnsignedQuad, 1, 2, 2, 2, 1, 2, 2, 2, 1>;

}  // namespace nibble::scalar
