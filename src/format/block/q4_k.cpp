// SPDX-License-Identifier: Apache-2.0
#include "format/block/q4_k.h"

namespace nibble {

void Q4_K::unpack(const Block& block, Grid& grid, Code* codes) {
  grid.d = f16_to_f32(block.d);
  grid.dmin = f16_to_f32(block.dmin);
  unpack_six_bit_pairs(block.scales, grid.scales, grid.minima);
  grid.derive();
  for (std::size_t c = 0; c < 4; ++c)
    for (std::size_t l = 0; l < 32; ++l) {
      codes[64 * c + l] = block.qs[32 * c + l] & 15u;
      codes[64 * c + 32 + l] = block.qs[32 * c + l] >> 4;
    }
}

FormatPtr make_q4_k() { return std::make_shared<BlockFormat<Q4_K>>(); }

}  // namespace nibble
