// SPDX-License-Identifier: Apache-2.0
#include "format/block/iq1_s.h"

#include <cstring>

namespace nibble {

Code IQ1_SUnit::nearest_in_metric(const float* target, const float* metric, float shift) {
  return nibble::nearest_in_metric(iq1_codebook(), 1, target, metric, Signs::none, shift).index[0];
}

void IQ1_S::pack(const Grid& grid, const Code* codes, Block& block) {
  block.d = f32_to_f16(grid.d);
  for (std::size_t s = 0; s < 8; ++s) {
    std::uint32_t high = static_cast<std::uint32_t>(grid.scales[s]) << 12 | (grid.shifts[s] < 0 ? 0x8000u : 0u);
    for (std::size_t l = 0; l < 4; ++l) {
      block.qs[4 * s + l] = static_cast<std::uint8_t>(codes[4 * s + l] & 255u);
      high |= (codes[4 * s + l] >> 8) << (3 * l);
    }
    block.qh[s] = static_cast<std::uint16_t>(high);
  }
}

void IQ1_S::unpack(const Block& block, Grid& grid, Code* codes) {
  grid.d = f16_to_f32(block.d);
  for (std::size_t s = 0; s < 8; ++s) {
    grid.scales[s] = block.qh[s] >> 12 & 7;
    grid.shifts[s] = (block.qh[s] & 0x8000u) != 0 ? -0.125F : 0.125F;
    for (std::size_t l = 0; l < 4; ++l) codes[4 * s + l] = block.qs[4 * s + l] | (block.qh[s] >> (3 * l) & 7u) << 8;
  }
  VectorSearch<IQ1_SShape>::derive(grid);
}

void IQ1_S::encode(const float* x, const float* importance, const FitOptions& options, Block& block) {
  Grid grid;
  Code codes[kSuperBlock / IQ1_SShape::kUnit];
  encode_units(x, importance, options, grid, codes);
  pack(grid, codes, block);
}

std::optional<std::string> IQ1_S::find_defect(const Block& block) {
  if (!f16_is_finite(block.d)) return "the scale is not finite";
  return std::nullopt;
}

FormatPtr make_iq1_s() { return std::make_shared<BlockFormat<IQ1_S>>(); }

}  // namespace nibble
