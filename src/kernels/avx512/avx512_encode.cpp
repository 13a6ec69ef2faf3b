// SPDX-License-Identifier: Apache-2.0
#include "format/span_lanes.h"
#include "format/trellis/path_lanes.h"
#include "kernels/lanes/block_twins.h"

namespace nibble::avx512 {

std::span<const BlockTwin> block_twins() { return kBlockTwins; }
const SpanLoops& span_loops() { return kSpanLoops; }
const PathSteps& path_steps() { return kPathSteps; }

}  // namespace nibble::avx512
