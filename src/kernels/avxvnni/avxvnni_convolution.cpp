// SPDX-License-Identifier: Apache-2.0
#include "kernels/avxvnni/quads.h"
#include "kernels/lanes/point_loops.h"

namespace nibble::avxvnni {

const ConvolutionLoops kConvolutionLoops =
    lanes::kLoops<avx2::F32, avx2::Bytes, avx2::Sums, UnsignedQuad, 1, 6, 6, 6, 1, 6, 6, 6, 4>;

}  // namespace nibble::avxvnni
