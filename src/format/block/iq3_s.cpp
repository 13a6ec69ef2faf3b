// SPDX-License-Identifier: Apache-2.0
#include "format/block/iq3_s.h"

#include <cstring>

namespace nibble {

void IQ3_S::pack(const Grid& grid, const Code* codes, Block& block) {
  block = {};
  block.d = f32_to_f16(grid.d);
  for (std::size_t i = 0; i < 64; ++i) {
    block.qs[i] = static_cast<std::uint8_t>(codes[i] & 255u);
    block.qh[i / 8] = static_cast<std::uint8_t>(block.qh[i / 8] | (codes[i] >> 8 & 1u) << (i % 8));
    block.signs[i / 2] = static_cast<std::uint8_t>(block.signs[i / 2] | (codes[i] >> 9 & 15u) << (i % 2 * 4));
  }
  for (std::size_t b = 0; b < 4; ++b)
    block.scales[b] = static_cast<std::uint8_t>(grid.scales[2 * b] | grid.scales[2 * b + 1] << 4);
}

void IQ3_S::unpack(const Block& block, Grid& grid, Code* codes) {
  grid.d = f16_to_f32(block.d);
  for (std::size_t i = 0; i < 64; ++i)
    codes[i] = block.qs[i] | (block.qh[i / 8] >> (i % 8) & 1u) << 8 | (block.signs[i / 2] >> (i % 2 * 4) & 15u) << 9;
  for (std::size_t s = 0; s < 8; ++s) grid.scales[s] = block.scales[s / 2] >> (s % 2 * 4) & 15;
  VectorSearch<IQ3_SShape>::derive(grid);
}

void IQ3_S::encode(const float* x, const float* importance, const FitOptions& options, Block& block) {
  Grid grid;
  Code codes[kSuperBlock / IQ3_SShape::kUnit];
  encode_units(x, importance, options, grid, codes);
  pack(grid, codes, block);
}

std::optional<std::string> IQ3_S::find_defect(const Block& block) {
  if (!f16_is_finite(block.d)) return "the scale is not finite";
  return std::nullopt;
}

FormatPtr make_iq3_s() { return std::make_shared<BlockFormat<IQ3_S>>(); }

}  // namespace nibble
