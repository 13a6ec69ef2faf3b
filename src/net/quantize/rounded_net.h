// SPDX-License-Identifier: Apache-2.0
//
// A net with its rounding drawn into it: a Quantize and a Dequantize behind every value that has a grid, read by
// whoever read the value. Pure functions.
#pragma once

#include "net/quantize/rounding_scheme.h"
#include "net/quantize/sample_walk.h"

namespace nibble {

// weights: what parts become. Codes are 0 .. 255; for TensorRT, which has no zero points, -128 .. 127.
Net draw_rounding(const Net& net, const ValueGrids& grids, const NumbersByPart& weights, NetRuntime runtime);

}  // namespace nibble
