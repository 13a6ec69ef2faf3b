// SPDX-License-Identifier: Apache-2.0
//
// The code of nested points (nested_points.h) whose values are nearest to a target. Where the nearest point of the
// lattice is one of them, it is found; beyond them a good one is looked for and then, within what is nearer than that,
// every other until patience ends. Internal to format/.
//
//   const Code code = nearest_nested(1, target, nullptr);
#pragma once

#include <cstddef>

#include "format/format.h"

namespace nibble {

// num_refinements: 1 or 2. target [8], in values, finite and not far beyond the points. metric: as Format::nearest has
// it.
Code nearest_nested(std::size_t num_refinements, const float* target, const float* metric);

}  // namespace nibble
