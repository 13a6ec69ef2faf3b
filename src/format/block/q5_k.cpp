// SPDX-License-Identifier: Apache-2.0
#include "format/block/q5_k.h"

namespace nibble {

void Q5_K::unpack(const Block& block, Grid& grid, Code* codes) {
  grid.d = f16_to_f32(block.d);
  grid.dmin = f16_to_f32(block.dmin);
  unpack_six_bit_pairs(block.scales, grid.scales, grid.minima);
  grid.derive();
  for (std::size_t s = 0; s < 8; ++s)
    for (std::size_t l = 0; l < 32; ++l) {
      const unsigned low = block.qs[32 * (s / 2) + l] >> (s % 2 * 4) & 15u;
      codes[32 * s + l] = low | (block.qh[l] >> s & 1u) << 4;
    }
}

FormatPtr make_q5_k() { return std::make_shared<BlockFormat<Q5_K>>(); }

}  // namespace nibble
