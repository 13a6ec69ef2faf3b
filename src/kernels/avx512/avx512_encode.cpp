// SPDX-License-Identifier: Apache-2.0
#include "format/planar_lanes.h"
#include "kernels/lanes/block_twins.h"

namespace nibble::avx512 {

std::span<const BlockTwin> block_twins() { return kBlockTwins; }
const PlanarLoops& planar_loops() { return kPlanarLoops; }

}  // namespace nibble::avx512
