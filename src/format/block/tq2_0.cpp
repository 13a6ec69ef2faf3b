// SPDX-License-Identifier: Apache-2.0
#include "format/block/tq2_0.h"

#include "format/scale.h"

namespace nibble {

void Tq2_0::pack(const Grid& grid, const Code* codes, Block& block) {
  block.d = f32_to_f16(grid.d);
  std::memset(block.qs, 0, sizeof(block.qs));
  for (std::size_t i = 0; i < 256; ++i) {
    std::uint8_t& byte = block.qs[i / 128 * 32 + i % 32];
    byte = static_cast<std::uint8_t>(byte | (codes[i] << (i % 128 / 32 * 2)));
  }
}

void Tq2_0::unpack(const Block& block, Grid& grid, Code* codes) {
  grid.d = f16_to_f32(block.d);
  grid.threshold = 0.5f * grid.d;
  for (std::size_t i = 0; i < 256; ++i) codes[i] = (block.qs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2)) & 3u;
}

void Tq2_0::encode(const float* x, const float* importance, const FitOptions& options, Block& block) {
  Grid grid;
  Code codes[256];
  encode_ternary_block(x, importance, options, grid, codes);
  pack(grid, codes, block);
}

std::optional<std::string> Tq2_0::find_defect(const Block& block) {
  if (!f16_is_finite(block.d)) return "the scale is not finite";
  // A code is reserved where both of its bits are set.
  for (const std::uint8_t byte : block.qs)
    if ((byte & (byte >> 1) & 0x55) != 0) return "a code is reserved (3)";
  return std::nullopt;
}

FormatPtr make_tq2_0() { return std::make_shared<BlockFormat<Tq2_0>>(); }

}  // namespace nibble
