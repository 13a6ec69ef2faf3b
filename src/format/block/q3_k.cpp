// SPDX-License-Identifier: Apache-2.0
#include "format/block/q3_k.h"

namespace nibble {

void Q3_K::unpack(const Block& block, Grid& grid, Code* codes) {
  grid.d = f16_to_f32(block.d);
  for (std::size_t s = 0; s < 16; ++s) {
    const int low = block.scales[s % 8] >> (s / 8 * 4) & 15, high = block.scales[8 + s % 4] >> (s / 4 * 2) & 3;
    grid.scales[s] = static_cast<std::int8_t>((low | high << 4) - 32);
  }
  grid.derive();
  unpack_two_bits(block.qs, codes);
  for (std::size_t i = 0; i < 256; ++i) codes[i] |= (block.hmask[i % 32] >> (i / 32) & 1u) << 2;
}

FormatPtr make_q3_k() { return std::make_shared<BlockFormat<Q3_K>>(); }

}  // namespace nibble
