// SPDX-License-Identifier: Apache-2.0
//
// Matrices for tests that need no model.
#pragma once

#include <cstring>

#include "base/random.h"
#include "format/quantized_tensor.h"

namespace nibble {

// Normal numbers of standard deviation 0.05 in f32.
inline QuantizedTensor random_matrix(std::uint64_t rows, std::uint64_t cols, std::uint64_t seed) {
  QuantizedTensor tensor(find_format("f32"), rows, cols);
  Random random(seed);
  for (std::uint64_t i = 0; i < rows * cols; ++i) {
    const float value = static_cast<float>(0.05 * random.normal());
    std::memcpy(tensor.planes[0].data() + i * sizeof(float), &value, sizeof(float));
  }
  return tensor;
}

}  // namespace nibble
