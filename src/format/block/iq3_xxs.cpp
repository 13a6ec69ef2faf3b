// SPDX-License-Identifier: Apache-2.0
#include "format/block/iq3_xxs.h"

#include <cstring>

namespace nibble {

Code IQ3_XXSUnit::nearest_in_metric(const float* target, const float* metric, float) {
  const MetricChoice choice = nibble::nearest_in_metric(iq3_xxs_codebook(), 2, target, metric, Signs::even);
  return choice.index[0] | choice.index[1] << 8 | (choice.negative & 127u) << 16;
}

void IQ3_XXS::pack(const Grid& grid, const Code* codes, Block& block) {
  block.d = f32_to_f16(grid.d);
  for (std::size_t s = 0; s < 8; ++s) {
    std::uint32_t word = static_cast<std::uint32_t>(grid.scales[s]) << 28;
    for (std::size_t l = 0; l < 4; ++l) {
      const Code code = codes[4 * s + l];
      block.qs[8 * s + 2 * l] = static_cast<std::uint8_t>(code & 255u);
      block.qs[8 * s + 2 * l + 1] = static_cast<std::uint8_t>(code >> 8 & 255u);
      word |= (code >> 16 & 127u) << (7 * l);
    }
    std::memcpy(block.signs + 4 * s, &word, 4);
  }
}

void IQ3_XXS::unpack(const Block& block, Grid& grid, Code* codes) {
  grid.d = f16_to_f32(block.d);
  for (std::size_t s = 0; s < 8; ++s) {
    std::uint32_t word;
    std::memcpy(&word, block.signs + 4 * s, 4);
    grid.scales[s] = static_cast<std::uint8_t>(word >> 28);
    for (std::size_t l = 0; l < 4; ++l)
      codes[4 * s + l] = block.qs[8 * s + 2 * l] | static_cast<Code>(block.qs[8 * s + 2 * l + 1]) << 8 |
                         (word >> (7 * l) & 127u) << 16;
  }
  VectorSearch<IQ3_XXSShape>::derive(grid);
}

void IQ3_XXS::encode(const float* x, const float* importance, const FitOptions& options, Block& block) {
  Grid grid;
  Code codes[kSuperBlock / IQ3_XXSShape::kUnit];
  encode_units(x, importance, options, grid, codes);
  pack(grid, codes, block);
}

std::optional<std::string> IQ3_XXS::find_defect(const Block& block) {
  if (!f16_is_finite(block.d)) return "the scale is not finite";
  return std::nullopt;
}

FormatPtr make_iq3_xxs() { return std::make_shared<BlockFormat<IQ3_XXS>>(); }

}  // namespace nibble
