// SPDX-License-Identifier: Apache-2.0
//
// What training changes, as optimizers see it: named runs of f32 numbers, each with the slope of the loss in it.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace nibble {

// Borrowed: whoever owns the numbers keeps them in their place while an optimizer works on them.
struct Parameter {
  std::string name;
  std::uint64_t rows = 1, cols = 0;   // [rows, cols], row-major; vectors have one row
  std::span<float> values;            // [rows * cols]
  std::span<const float> gradient{};  // as values: the slopes, of one batch or summed over several
};

}  // namespace nibble
