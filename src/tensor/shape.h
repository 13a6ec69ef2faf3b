// SPDX-License-Identifier: Apache-2.0
//
// Shapes that mean the same elements in the same places. Containers drop extents of 1 or add them: a matrix of one row
// is [1, n] here and [n] there, a norm the other way round, and a depthwise convolution [channels, 1, taps] or
// [channels, taps]. Pure functions, safe from any thread.
//
//   if (!is_same_shape(stored.shape, expected)) ...
#pragma once

#include <vector>

#include "tensor/tensor.h"

namespace nibble {

// Equal up to extents of 1: [1, n] and [n], [1] and [].
inline bool is_same_shape(Shape a, Shape b) {
  std::erase(a, 1u);
  std::erase(b, 1u);
  return a == b;
}

}  // namespace nibble
