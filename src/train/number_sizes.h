// SPDX-License-Identifier: Apache-2.0
//
// In what changes of a tensor's numbers are counted while they are trained, so that one rate is right for all.
#pragma once

#include <span>
#include <vector>

#include "format/format.h"

namespace nibble {

// Of each number its magnitude, a hundredth of the largest at least; 0 of zero points, which are whole numbers and
// stay. numbers: of all grids as TrainableGrid has them, or of a tensor in floating point.
std::vector<float> number_sizes(std::span<const float> numbers, const Format& format);

}  // namespace nibble
