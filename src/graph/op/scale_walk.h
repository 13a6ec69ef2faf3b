// SPDX-License-Identifier: Apache-2.0
//
// Which scale and zero a number of a value has: one for all, or one for each place along a dimension.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "graph/extents.h"

namespace nibble {

// Of x, scales and zeros.
inline void require_scales(std::span<const Dimensions> inputs, std::uint64_t axis, std::string_view operation) {
  const std::uint64_t scales = numbers_of(inputs[1]);
  require_drawable(scales == numbers_of(inputs[2]), operation, "scales and zeros of other numbers");
  require_drawable(scales == 1 || (axis < inputs[0].size() && inputs[0][axis].extent == scales), operation,
                   "scales that do not fit the dimension that they are for");
}

class ScaleWalk {
 public:
  ScaleWalk(std::span<const Dimensions> inputs, std::uint64_t axis) : count_(numbers_of(inputs[1])) {
    if (count_ > 1) step_ = static_cast<std::size_t>(row_major(extents_of(inputs[0]))[axis]);
  }
  std::size_t place(std::size_t number) const { return number / step_ % count_; }

 private:
  std::size_t count_ = 1, step_ = 1;
};

}  // namespace nibble
