// SPDX-License-Identifier: Apache-2.0
//
// Tensors of formats whose rows are coded together, without the search for codes: every string of bits is a tile.
#pragma once

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/half.h"
#include "base/random.h"
#include "format/quantized_tensor.h"
#include "format/trellis/state_values.h"
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

// Trellises in which every few symbols stand for the largest number there is or, in the second half of the columns, for
// the smallest; scales of 1/128. rows: a multiple of 64; cols: of 8.
inline QuantizedTensor extreme_tiles(const FormatPtr& format, std::uint64_t rows, std::uint64_t cols) {
  const TrellisShape& shape = *trellis_shape(*format);
  const auto values = trellis_values(shape);
  const auto [smallest, largest] = std::minmax_element(values.begin(), values.end());
  QuantizedTensor tensor(format, rows, cols);
  // A state's bits again and again: as many symbols as hold them, and a power of two, which the ring is whole times.
  const std::size_t period =
                        std::bit_ceil((shape.state_bits + shape.code_bits - 1) / shape.code_bits) * shape.code_bits,
                    tiles = static_cast<std::size_t>(cols) / kTrellisCols;
  for (std::size_t i = 0; i < 8 * tensor.planes[0].size(); ++i) {
    const bool is_first_half = i / (8 * tile_bytes(shape)) % tiles < tiles / 2;
    const auto state = static_cast<std::size_t>((is_first_half ? largest : smallest) - values.begin());
    tensor.planes[0][i / 8] |= static_cast<std::byte>((state >> (i % period) & 1) << (i % 8));
  }
  const std::uint16_t scale = f32_to_f16(0x1p-7F);
  for (std::size_t row = 0; row < static_cast<std::size_t>(rows); ++row)
    std::memcpy(&tensor.planes[1][2 * row], &scale, sizeof(scale));
  return tensor;
}

}  // namespace nibble
