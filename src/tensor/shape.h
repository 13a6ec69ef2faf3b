// SPDX-License-Identifier: Apache-2.0
//
// Shapes that mean the same elements in the same places. Containers drop extents of 1 on the outside or add them: a
// matrix of one row is [1, n] here and [n] there, and a norm the other way round. Pure functions, safe from any thread.
//
//   if (!is_same_shape(stored.shape, expected)) ...
#pragma once

#include <algorithm>

#include "tensor/tensor.h"

namespace nibble {

// Equal up to extents of 1 on the outside: [1, n] and [n], [1] and [].
inline bool is_same_shape(const Shape& a, const Shape& b) {
  const auto inner = [](const Shape& shape) {
    return std::span(std::ranges::find_if(shape, [](std::uint64_t extent) { return extent != 1; }), shape.end());
  };
  return std::ranges::equal(inner(a), inner(b));
}

}  // namespace nibble
