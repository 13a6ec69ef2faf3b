// SPDX-License-Identifier: Apache-2.0
#include "kernels/lanes/block_twins.h"

namespace nibble::avx2 {

std::span<const BlockTwin> block_twins() { return kBlockTwins; }

}  // namespace nibble::avx2
