// SPDX-License-Identifier: Apache-2.0
#include "kernels/convolution/convolution.h"

namespace nibble {

const ConvolutionLoops& convolution_loops(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      break;
    case Isa::avx2:
      return avx2::kConvolutionLoops;
    case Isa::avxvnni:
      return avxvnni::kConvolutionLoops;
    case Isa::avx512:
      return avx512::kConvolutionLoops;
  }
  return scalar::kConvolutionLoops;
}

}  // namespace nibble
