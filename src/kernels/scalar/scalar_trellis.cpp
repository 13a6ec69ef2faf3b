// SPDX-License-Identifier: Apache-2.0
//
// Tiles decoded one symbol at a time: the reference.
#include "format/trellis/state_values.h"
#include "kernels/linear/trellis_kernels.h"

namespace nibble::scalar {
namespace {

// What is read of a tile at a bit, the ring's end joined to its beginning.
std::uint32_t window(const std::uint8_t* tile, std::size_t bytes, std::size_t bit, unsigned bits) {
  std::uint32_t word = 0;
  for (std::size_t i = 0; i < 3; ++i) word |= std::uint32_t{tile[(bit / 8 + i) % bytes]} << (8 * i);
  return word >> (bit % 8) & ((1u << bits) - 1);
}

std::uint8_t sum_of_bytes(std::uint32_t state) {
  const std::uint32_t bytes = state * kStateFactor & kStateMask;
  return static_cast<std::uint8_t>((bytes & 255) + (bytes >> 8 & 255) + (bytes >> 16 & 255) + (bytes >> 24));
}

void decode(const TrellisOperands& operands, const std::uint8_t* tiles, std::size_t quads, std::uint8_t* panel) {
  const TrellisShape& shape = operands.shape;
  const std::size_t bytes = tile_bytes(shape);
  const bool has_table = operands.table != nullptr;
  for (std::size_t q = 0; q < quads; ++q, tiles += bytes, panel += kTrellisTile)
    for (std::size_t i = 0; i < kTrellisTile; ++i) {
      const std::uint32_t state = window(tiles, bytes, i * shape.code_bits, shape.state_bits);
      panel[i] = has_table ? operands.table[state] : sum_of_bytes(state);
    }
}

}  // namespace

const TrellisKernels kTrellisKernels = {decode, nullptr};

}  // namespace nibble::scalar
