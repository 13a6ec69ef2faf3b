// SPDX-License-Identifier: Apache-2.0
#include "format/block/iq2_s.h"

#include <cstring>

namespace nibble {

void IQ2_S::pack(const Grid& grid, const Code* codes, Block& block) {
  block = {};
  block.d = f32_to_f16(grid.d);
  for (std::size_t i = 0; i < 32; ++i) {
    block.qs[i] = static_cast<std::uint8_t>(codes[i] & 255u);
    block.qh[i / 4] = static_cast<std::uint8_t>(block.qh[i / 4] | (codes[i] >> 8 & 3u) << (i % 4 * 2));
    block.signs[i] = static_cast<std::uint8_t>(codes[i] >> 10);
  }
  for (std::size_t b = 0; b < 8; ++b)
    block.scales[b] = static_cast<std::uint8_t>(grid.scales[2 * b] | grid.scales[2 * b + 1] << 4);
}

void IQ2_S::unpack(const Block& block, Grid& grid, Code* codes) {
  grid.d = f16_to_f32(block.d);
  for (std::size_t i = 0; i < 32; ++i)
    codes[i] = block.qs[i] | (block.qh[i / 4] >> (i % 4 * 2) & 3u) << 8 | static_cast<Code>(block.signs[i]) << 10;
  for (std::size_t s = 0; s < 16; ++s) grid.scales[s] = block.scales[s / 2] >> (s % 2 * 4) & 15;
  VectorSearch<IQ2_SShape>::derive(grid);
}

void IQ2_S::encode(const float* x, const float* importance, const FitOptions& options, Block& block) {
  Grid grid;
  Code codes[kSuperBlock / IQ2_SShape::kUnit];
  encode_units(x, importance, options, grid, codes);
  pack(grid, codes, block);
}

std::optional<std::string> IQ2_S::find_defect(const Block& block) {
  if (!f16_is_finite(block.d)) return "the scale is not finite";
  return std::nullopt;
}

FormatPtr make_iq2_s() { return std::make_shared<BlockFormat<IQ2_S>>(); }

}  // namespace nibble
