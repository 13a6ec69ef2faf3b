// SPDX-License-Identifier: Apache-2.0
//
// Tiles decoded one symbol at a time: the reference.
#include "format/trellis/state_values.h"
#include "kernels/linear/trellis_kernels.h"

namespace nibble::scalar {
namespace {

void decode(const TrellisOperands& operands, const std::uint8_t* tiles, std::size_t quads, std::uint8_t* panel) {
  const TrellisShape& shape = operands.shape;
  const bool has_table = operands.table != nullptr;
  for (std::size_t q = 0; q < quads; ++q, tiles += tile_bytes(shape), panel += kTrellisTile)
    for (std::size_t i = 0; i < kTrellisTile; ++i) {
      const std::uint32_t state = tile_window(shape, tiles, i * shape.code_bits);
      panel[i] = has_table ? operands.table[state] : static_cast<std::uint8_t>(hashed_state(state));
    }
}

}  // namespace

const TrellisKernels kTrellisKernels = {"scalar", decode, nullptr};

}  // namespace nibble::scalar
