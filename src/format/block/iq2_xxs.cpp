// SPDX-License-Identifier: Apache-2.0
#include "format/block/iq2_xxs.h"

#include <cstring>

namespace nibble {

void IQ2_XXS::pack(const Grid& grid, const Code* codes, Block& block) {
  block.d = f32_to_f16(grid.d);
  for (std::size_t s = 0; s < 8; ++s) {
    std::uint32_t words[2] = {0, static_cast<std::uint32_t>(grid.scales[s]) << 28};
    for (std::size_t l = 0; l < 4; ++l) {
      words[0] |= (codes[4 * s + l] & 255u) << (8 * l);
      words[1] |= (codes[4 * s + l] >> 8 & 127u) << (7 * l);
    }
    std::memcpy(block.qs + 4 * s, words, sizeof(words));
  }
}

void IQ2_XXS::unpack(const Block& block, Grid& grid, Code* codes) {
  grid.d = f16_to_f32(block.d);
  for (std::size_t s = 0; s < 8; ++s) {
    std::uint32_t words[2];
    std::memcpy(words, block.qs + 4 * s, sizeof(words));
    grid.scales[s] = static_cast<std::uint8_t>(words[1] >> 28);
    for (std::size_t l = 0; l < 4; ++l)
      codes[4 * s + l] = (words[0] >> (8 * l) & 255u) | (words[1] >> (7 * l) & 127u) << 8;
  }
  VectorSearch<IQ2_XXSShape>::derive(grid);
}

void IQ2_XXS::encode(const float* x, const float* importance, const FitOptions& options, Block& block) {
  Grid grid;
  Code codes[kSuperBlock / IQ2_XXSShape::kUnit];
  encode_units(x, importance, options, grid, codes);
  pack(grid, codes, block);
}

std::optional<std::string> IQ2_XXS::find_defect(const Block& block) {
  if (!f16_is_finite(block.d)) return "the scale is not finite";
  return std::nullopt;
}

FormatPtr make_iq2_xxs() { return std::make_shared<BlockFormat<IQ2_XXS>>(); }

}  // namespace nibble
