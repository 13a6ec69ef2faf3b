// SPDX-License-Identifier: Apache-2.0
#include "format/block/q6_k.h"

namespace nibble {

void Q6_K::unpack(const Block& block, Grid& grid, Code* codes) {
  grid.d = f16_to_f32(block.d);
  std::copy(std::begin(block.scales), std::end(block.scales), grid.scales);
  grid.derive();
  unpack_two_bits(block.qh, codes);
  for (std::size_t i = 0; i < 256; ++i) {
    const unsigned low = block.ql[64 * (i / 128) + i % 64] >> (i % 128 / 64 * 4) & 15u;
    codes[i] = low | codes[i] << 4;
  }
}

FormatPtr make_q6_k() { return std::make_shared<BlockFormat<Q6_K>>(); }

}  // namespace nibble
