// SPDX-License-Identifier: Apache-2.0
//
// Tensors of formats whose rows are coded together, without the search for codes: every string of bits is a tile.
#pragma once

#include <cmath>
#include <cstring>

#include "base/half.h"
#include "base/random.h"
#include "format/quantized_tensor.h"
#include "format/row_tiles.h"
#include "format/trellis/trellis_format.h"

namespace nibble {

// Trellises at random, with scales of either side of 1/100.
inline QuantizedTensor random_tiles(const FormatPtr& format, std::uint64_t rows, std::uint64_t cols,
                                    std::uint64_t seed) {
  QuantizedTensor tensor(format, rows, cols);
  Random random(seed);
  for (std::byte& byte : tensor.planes[0]) byte = static_cast<std::byte>(random.below(256));
  for (std::uint64_t row = 0; row < rows; ++row) {
    const std::uint16_t scale = f32_to_f16(0.01F * (0.5F + static_cast<float>(random.below(1024)) / 1024));
    std::memcpy(&tensor.planes[1][2 * static_cast<std::size_t>(row)], &scale, sizeof(scale));
  }
  return tensor;
}

}  // namespace nibble
