// SPDX-License-Identifier: Apache-2.0
#include "format/block_q6_k.h"

namespace nibble {

void Q6_K::pack(const Grid& grid, const Code* codes, Block& block) {
  Code high[256];
  for (std::size_t i = 0; i < 256; ++i) high[i] = codes[i] >> 4;
  pack_two_bits(high, block.qh);
  for (std::size_t h = 0; h < 2; ++h)
    for (std::size_t l = 0; l < 64; ++l)
      block.ql[64 * h + l] = static_cast<std::uint8_t>((codes[128 * h + l] & 15) | (codes[128 * h + 64 + l] & 15) << 4);
  std::copy(std::begin(grid.scales), std::end(grid.scales), block.scales);
  block.d = f32_to_f16(grid.d);
}

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
