// SPDX-License-Identifier: Apache-2.0
#include "format/block/q2_k.h"

namespace nibble {

void Q2_K::unpack(const Block& block, Grid& grid, Code* codes) {
  grid.d = f16_to_f32(block.d);
  grid.dmin = f16_to_f32(block.dmin);
  for (std::size_t s = 0; s < 16; ++s) {
    grid.scales[s] = block.scales[s] & 15;
    grid.minima[s] = block.scales[s] >> 4;
  }
  grid.derive();
  unpack_two_bits(block.qs, codes);
}

FormatPtr make_q2_k() { return std::make_shared<BlockFormat<Q2_K>>(); }

}  // namespace nibble
