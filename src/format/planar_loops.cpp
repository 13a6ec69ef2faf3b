// SPDX-License-Identifier: Apache-2.0
#include "format/planar_loops.h"

#include "format/planar_lanes.h"

namespace nibble {

const PlanarLoops& plain_planar_loops() { return kPlanarLoops; }

}  // namespace nibble
